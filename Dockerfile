# syntax=docker/dockerfile:1

FROM python:3.11-slim-bookworm AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/python -m pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt \
    && /opt/venv/bin/python -m pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="octavo" \
      org.opencontainers.image.description="The multi-tenant API that social-media agencies run on."
# A fixed id, so that volumes keep their owner from one image to the next.
RUN groupadd --gid 10001 octavo \
    && useradd --uid 10001 --gid octavo --no-create-home --home-dir /app --shell /usr/sbin/nologin octavo \
    && install --directory --owner=octavo --group=octavo /media
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
COPY docker-entrypoint.sh /usr/local/bin/docker-entrypoint
COPY core core
COPY networks networks
COPY tenants tenants
COPY migrations migrations
COPY api api
COPY docs/guides docs/guides
COPY workers workers
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OCTAVO_ENVIRONMENT=production \
    OCTAVO_HOST=0.0.0.0 \
    OCTAVO_PORT=8000 \
    OCTAVO_MEDIA_URL=file:///media
# Compiled here, since the user below may not write: a start then reads byte code.
RUN python -m compileall -q -j 0 /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# For the API. Worker and scheduler switch it off: they have no port, and /readyz of the API turns red without them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["docker-entrypoint", "alive"]
ENTRYPOINT ["docker-entrypoint"]
CMD ["api"]
