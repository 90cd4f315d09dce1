# The base is a Debian and brings Python 3.11 or later as python3, with venv.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /build
# What compiles the package's part in C, here and nowhere else. Debian's own Python wants python3-dev
# beside it. With FAL_LOG_BRIDGE_PURE=1 nothing is compiled, and any base will do.
ARG BUILD_PACKAGES="gcc libc6-dev"
ARG FAL_LOG_BRIDGE_PURE=0
# hadolint ignore=DL3008,SC2086
RUN [ "${FAL_LOG_BRIDGE_PURE}" = 1 ] || { apt-get update \
    && apt-get install -y --no-install-recommends ${BUILD_PACKAGES} \
    && rm -rf /var/lib/apt/lists/*; }
# The application's environment has no pip: the build's own one fills it from outside.
RUN python3 -m venv tools && python3 -m venv --without-pip /app && mkdir state
COPY requirements/build.txt requirements/run.txt requirements/
RUN tools/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && tools/bin/pip --python /app/bin/python install --no-cache-dir --require-hashes \
       -r requirements/run.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY bridge bridge
RUN tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /app/bin/python install --no-cache-dir --no-deps --no-index dist/*.whl

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
# Whoever publishes the image gives these two; docs/operations.md has the command.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fal log bridge" \
      org.opencontainers.image.description="Delivers the logs of fal.ai apps to OpenTelemetry backends" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# python:slim brings a pip of its own, which nothing here runs.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip*
COPY --from=build /app /app
# The one folder that is written, temporary files too; everything else may be read-only.
COPY --from=build --chown=10001:10001 /build/state /var/lib/fal-log-bridge
# In a container nobody would reach the admin server on loopback.
ENV PATH=/app/bin:$PATH \
    HOME=/var/lib/fal-log-bridge \
    TMPDIR=/var/lib/fal-log-bridge \
    STATE_DIRECTORY=/var/lib/fal-log-bridge \
    BRIDGE_ADMIN__LISTEN=0.0.0.0:9846
USER 10001:10001
VOLUME /var/lib/fal-log-bridge
EXPOSE 9846
# Asks where the server listens, by no proxy; 0.0.0.0 leads to this machine.
HEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=3 \
    CMD ["python3", "-ISc", "import http.client, os; asked = http.client.HTTPConnection(os.environ['BRIDGE_ADMIN__LISTEN'], timeout=4); asked.request('GET', '/livez'); raise SystemExit(asked.getresponse().status != 200)"]
ENTRYPOINT ["fal-log-bridge"]
CMD ["run"]
