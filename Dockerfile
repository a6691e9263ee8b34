# The server as an image. Build: docker build -t drydock .
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/drydock \
 && /opt/drydock/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/drydock/bin/pip install --no-cache-dir hatchling \
 && /opt/drydock/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/drydock/bin/python -m compileall -q /opt/drydock

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /store drydock && install -d -o drydock /store
COPY --from=build /opt/drydock /opt/drydock
ENV PATH=/opt/drydock/bin:$PATH DD_STORE_PATH=/store
VOLUME /store
EXPOSE 3000
USER drydock
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s CMD ["drydock", "healthcheck"]
ENTRYPOINT ["drydock"]
CMD ["serve"]
