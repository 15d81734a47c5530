# The sidecar's image: no compiler, no pip and no shell is needed at run time. `docker build -t breeze-sidecar .`
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/requirements-build.lock deploy/requirements.lock ./
RUN pip install --quiet --require-hashes --no-deps --only-binary :all: -r requirements-build.lock \
 && python -m venv --without-pip /opt/breeze-sidecar \
 && pip --python /opt/breeze-sidecar/bin/python install --quiet --require-hashes --no-deps --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY breeze_sidecar breeze_sidecar
RUN pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist . \
 && pip --python /opt/breeze-sidecar/bin/python install --quiet --no-deps dist/*.whl \
 # What only people and type checkers read.
 && find /opt/breeze-sidecar -name '*.pyi' -delete \
 && find /opt/breeze-sidecar -name '*.pyx' -delete \
 && find /opt/breeze-sidecar -name '*.pxd' -delete \
 && find /opt/breeze-sidecar -name '*.c' -delete \
 && find /opt/breeze-sidecar -name __pycache__ -prune -exec rm -r {} +

FROM python:3.13-slim
LABEL org.opencontainers.image.title="breeze-sidecar" \
      org.opencontainers.image.description="A local proxy that gives any application authenticated access to the Breeze GraphQL API" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/breeze-sidecar /opt/breeze-sidecar
ENV PATH=/opt/breeze-sidecar/bin:/usr/local/bin:/usr/bin:/bin
# Bytecode of all that it imports, the standard library's too, which the base image lacks and its user cannot write:
# without it each start and each probe would compile it anew. Then nothing that installs packages is left.
RUN python -c "import breeze_sidecar.cli, breeze_sidecar.sidecar, breeze_sidecar.check, breeze_sidecar.demo, breeze_sidecar.healthcheck, \
breeze_sidecar.emulator.command, breeze_sidecar.token.file_cache, breeze_sidecar.token.redis_cache, graphql, encodings.idna, encodings.utf_8" \
 && breeze-sidecar --version \
 && python -m compileall -q /opt/breeze-sidecar \
 && rm -rf /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* \
           /usr/local/lib/python3*/idlelib /usr/local/bin/idle* /usr/local/lib/python3*/test
# Any user will do (OpenShift gives one of its own): nothing is written.
USER 65532:65532
WORKDIR /
EXPOSE 4747 4748
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["breeze-sidecar", "healthcheck"]
ENTRYPOINT ["breeze-sidecar"]
CMD ["serve"]
