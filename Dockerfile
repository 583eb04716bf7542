# The production image: the service without the embedded servers and the development tools.
FROM python:3.13-slim-bookworm AS packages
COPY requirements-production.lock /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --compile --no-deps --require-hashes --only-binary :all: \
        -r /requirements-production.lock

FROM python:3.13-slim-bookworm
RUN groupadd --system --gid 10001 quincunx \
    && useradd --system --uid 10001 --gid quincunx --no-create-home --shell /usr/sbin/nologin quincunx
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 STATIC_ROOT=/app/static
WORKDIR /app
COPY manage.py ./
COPY core ./core
COPY downloads ./downloads
COPY exports ./exports
COPY registry ./registry
COPY usermgmt ./usermgmt
COPY nnels ./nnels
# Static files are collected at build time; DEBUG here only spares the secrets, it does not stay in the image.
RUN python -m compileall -q . && DEBUG=1 python manage.py collectstatic --no-input --verbosity 0
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=6s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/livez', timeout=5)"]
CMD ["python", "-m", "core.programs", "web", "--bind", "0.0.0.0:8000"]
