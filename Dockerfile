# The service, and the two set-up programs of docker-compose.yml. What is built in the first stage stays there,
# but for the environment that the second one takes over.

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY licences licences
COPY mappings mappings
COPY ingest ingest
COPY es_xmodal es_xmodal
# The environment has no pip of its own: the one outside fills it.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m pip wheel --no-deps --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/es-xmodal \
 && wheel=$(echo /wheels/*.whl) \
 && python -m pip --python /opt/es-xmodal/bin/python install --only-binary :all: --no-binary jieba \
      "${wheel}[server,otel]" \
 && /opt/es-xmodal/bin/python -m compileall -q /opt/es-xmodal/lib

FROM python:3.12-slim-bookworm
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="es_xmodal" \
      org.opencontainers.image.description="Search by words, by photo, or by both, in Elasticsearch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# /data holds the vectors of an ingest; a volume that is mounted there takes over its owner.
RUN groupadd --gid 10001 es-xmodal \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin es-xmodal \
 && install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=build /opt/es-xmodal /opt/es-xmodal
COPY deploy/set_up.py deploy/roles.json /opt/es-xmodal/deploy/
ENV PATH=/opt/es-xmodal/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ES_XMODAL_DATA_DIR=/data
WORKDIR /data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# A process that does not answer; whether the index can be searched is another question, at /readyz.
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 \
  CMD ["python", "-m", "es_xmodal.server.alive"]
ENTRYPOINT ["es-xmodal"]
CMD ["serve", "--host", "0.0.0.0"]
