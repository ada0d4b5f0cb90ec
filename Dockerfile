# syntax=docker/dockerfile:1

FROM node:22-slim AS packages
WORKDIR /parley
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund


FROM python:3.11-slim AS environment
RUN python -m venv /opt/environment
COPY requirements.txt constraints.txt ./
RUN /opt/environment/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt


# The files of the page under hashed names, compressed.
FROM environment AS static
WORKDIR /parley
COPY . .
COPY --from=packages /parley/node_modules node_modules
RUN CHAT_STATIC_ROOT=/parley/staticfiles /opt/environment/bin/python manage.py collectstatic --no-input --verbosity 0


FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home parley
WORKDIR /parley
COPY --from=environment /opt/environment /opt/environment
COPY . .
COPY --from=static /parley/staticfiles staticfiles

# Alone, without the services of docker-compose.yml, the container keeps everything in the volume /data.
ENV PATH=/opt/environment/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CHAT_STATIC_ROOT=/parley/staticfiles \
    CHAT_ENV_FILE=/data/.env \
    DATABASE_URL=sqlite:////data/db.sqlite3
RUN python -m compileall -q /parley/chatproject /parley/conversations /parley/streaming

USER parley
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "tools/healthy.py"]
CMD ["tools/serve"]
