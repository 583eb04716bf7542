"""Harvest generated ISO records served by nginx on loopback: documents per CPU-second in four passes.

`./run bench harvest [--documents 2000]` starts servers of its own. For each pass it prints our CPU per document,
the wall time, and peak memory; the limit beside it is nginx's own ceiling on the same files, measured with wrk in the
same run (when it is installed). Nothing here decides anything by time.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time

from core import process
from core.embedded import stack

KEYWORDS = 95  # makes a record of about 15 KB


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-harvest-") as name:
        folder = pathlib.Path(name)
        servers = stack.Stack(folder / "servers", durable=False)
        try:
            servers.start()
            os.environ.update(
                {
                    **servers.env(),
                    "SECRET_KEY": "bench",
                    "DEBUG": "1",
                    "ALLOW_PRIVATE_NETWORKS": "1",
                    "LOG_LEVEL": "ERROR",
                }
            )
            os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings"
            run(folder, options)
        finally:
            servers.stop()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--wrk-seconds", type=int, default=3)
    return parser.parse_args()


def run(folder: pathlib.Path, options: argparse.Namespace) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    docs = write_documents(folder / "iso", options.documents)
    port = process.free_ports(1)[0]
    nginx = start_nginx(folder, docs, port)
    try:
        url = f"http://127.0.0.1:{port}/"
        passes(url, docs, options.documents)
        ceiling(url, docs, options.wrk_seconds)
    finally:
        nginx.terminate()
        nginx.wait(10)


def write_documents(docs: pathlib.Path, count: int) -> pathlib.Path:
    from registry.formats import samples

    docs.mkdir()
    docs.chmod(0o755)
    old = time.time() - 30 * 86_400
    for number in range(count):
        path = docs / f"station_{number:06d}.xml"
        path.write_bytes(samples.iso19139(number, keywords=KEYWORDS))
        os.utime(path, (old, old))
    size = (docs / "station_000000.xml").stat().st_size
    print(f"{count} documents of {size} bytes")
    return docs


def start_nginx(folder: pathlib.Path, docs: pathlib.Path, port: int) -> subprocess.Popen[bytes]:
    program = shutil.which("nginx")
    if program is None:
        raise SystemExit("this benchmark needs Debian's package nginx-light")
    for parent in (folder, docs):
        parent.chmod(0o755)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; user root;\n"
        "events { worker_connections 256; }\n"
        f"http {{ types {{ application/xml xml; }} access_log off; client_body_temp_path {folder}/b;\n"
        f"  proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;\n"
        f"  scgi_temp_path {folder}/s;\n"
        f"  server {{ listen 127.0.0.1:{port}; root {docs}; autoindex on; }} }}\n"
    )
    made = subprocess.Popen([program, "-c", str(config)])
    process.await_until(lambda: not process.is_free(port), what="nginx", timeout=10)
    return made


def passes(url: str, docs: pathlib.Path, count: int) -> None:
    from registry.formats import samples
    from registry.models import Harvest, Organization, Record

    organization = Organization.objects.create(name="Bench", slug="Bench")
    harvest = Harvest.objects.create(name="Bench", url=url, organization=organization)
    print(f"{'pass':<28}{'wall s':>9}{'CPU ms/doc':>12}{'docs/CPU-s':>12}{'peak MB':>9}  outcome")
    measured(harvest, "cold", count)
    measured(harvest, "unchanged by listing", count)
    Record.objects.update(settled=False)
    measured(harvest, "unchanged by conditional GET", count)
    for number in range(0, count, 100):
        (docs / f"station_{number:06d}.xml").write_bytes(samples.iso19139(number, keywords=KEYWORDS, revision=1))
    measured(harvest, "1 % changed", count)


def measured(harvest: object, name: str, count: int) -> None:
    from core import jobs
    from registry.jobs import request
    from registry.models import Harvest

    assert isinstance(harvest, Harvest)
    harvest.refresh_from_db()
    made, _ = request.run_of(harvest, trigger="cli")
    wall, cpu = time.perf_counter(), time.process_time()
    jobs.run(made.job_id)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    made.refresh_from_db()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcome = f"{made.state}, {made.good} good, {made.unchanged} unchanged, {made.changed} changed"
    print(f"{name:<28}{wall:>9.2f}{cpu / count * 1000:>12.3f}{count / cpu:>12.0f}{peak:>9.0f}  {outcome}")


def ceiling(url: str, docs: pathlib.Path, seconds: int) -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        print("nginx's ceiling: wrk is not installed")
        return
    target = f"{url}{next(iter(docs.iterdir())).name}"
    made = subprocess.run(
        [wrk, "-t1", "-c8", f"-d{seconds}s", target], capture_output=True, text=True, check=True, timeout=seconds + 30
    )
    line = next(line for line in made.stdout.splitlines() if "Requests/sec" in line)
    print(f"nginx's ceiling (wrk, 8 connections): {line.split()[-1]} documents/s")


if __name__ == "__main__":
    main()
