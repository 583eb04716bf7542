"""What a worker loads: its memory is that of every process it forks."""

import os
import subprocess
import sys


def test_a_worker_loads_no_views() -> None:
    """Celery's start would run Django's checks, which load every view of the service, and look at no answer."""
    look = (
        "import sys, core.celery as c; c.app.loader.import_default_modules();"
        "print(sorted({name for name in sys.modules if name.endswith('.views') and name.count('.') == 1}"
        " & {'exports.views', 'registry.views', 'downloads.views', 'core.views'}), 'core.urls' in sys.modules)"
    )
    env = {**os.environ, "DEBUG": "1"}
    env.pop("CELERY_SKIP_CHECKS", None)
    ran = subprocess.run([sys.executable, "-c", look], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[] False"


def test_a_workers_child_does_not_search_what_it_loaded_for_garbage() -> None:
    look = (
        "import gc, core.celery as c; c.app.loader.import_default_modules(); c._begin_child();"
        "print(len(gc.get_objects()) < gc.get_freeze_count() / 10, gc.isenabled())"
    )
    env = {**os.environ, "DEBUG": "1"}
    ran = subprocess.run([sys.executable, "-c", look], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "True True"
