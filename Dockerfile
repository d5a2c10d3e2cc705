# Slim, not root, and with its own user: Postgres refuses user ids that have no name.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock build.in pyproject.toml README.md LICENSE ./
COPY collector collector
COPY migrations migrations
COPY dashboards dashboards
COPY alerts alerts
RUN python -m venv /opt/sizewise \
 && /opt/sizewise/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/sizewise/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/sizewise --create-home sizewise
COPY --from=build /opt/sizewise /opt/sizewise
ENV PATH=/opt/sizewise/bin:$PATH SIZEWISE_STATE_DIR=/var/lib/sizewise
USER sizewise
VOLUME /var/lib/sizewise
EXPOSE 4000 4001
HEALTHCHECK --interval=10s --timeout=3s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:4001/healthz', timeout=2)"]
ENTRYPOINT ["sizewise"]
CMD ["up"]
