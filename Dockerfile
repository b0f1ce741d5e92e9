# The service: locked dependencies, no root, nothing in it that is needed only to build it.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python -m venv builder \
 && builder/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.txt \
 && python -m venv /opt/fsherald \
 && /opt/fsherald/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt
COPY . .
RUN builder/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/fsherald/bin/pip install --no-cache-dir --no-deps --no-index dist/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/fsherald fsherald \
 && install -d -o fsherald -g fsherald -m 0750 /var/lib/fsherald \
 && install -d /data
COPY --from=build /opt/fsherald /opt/fsherald
ENV PATH=/opt/fsherald/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FSHERALD_ROOTS=/data \
    FSHERALD_STATE_DIR=/var/lib/fsherald \
    FSHERALD_LOG_FORMAT=json \
    FSHERALD_HTTP=0.0.0.0:9464
USER fsherald
WORKDIR /var/lib/fsherald
VOLUME /var/lib/fsherald
EXPOSE 9464
# Alive, whether or not the broker is: a broker that is away is waited for, not a reason to restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['FSHERALD_HTTP'].rpartition(':')[2] + '/healthz', timeout=2)"]
ENTRYPOINT ["fsherald"]
CMD ["serve"]
