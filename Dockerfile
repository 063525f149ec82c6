# By digest for a release: docs/installing.md says how to find it.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt requirements-s3.txt ./
RUN /opt/venv/bin/pip install -r requirements.txt -r requirements-s3.txt && /opt/venv/bin/python -m compileall -q /opt/venv

FROM ${PYTHON_IMAGE}
# PYTHONDONTWRITEBYTECODE: the program's folder is not writable for its user.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FLASK_APP=run \
    FLASK_ENV=production \
    HOST=0.0.0.0 \
    PORT=5000
RUN useradd --system --user-group --uid 999 --home-dir /srv/itam --shell /usr/sbin/nologin itam
WORKDIR /srv/itam
COPY --from=build /opt/venv /opt/venv
COPY . .
# Its user cannot write there, so each start would compile every module again.
RUN python -m compileall -q app migrations config.py config_parsers.py run.py
# Uploads, and the database where it is SQLite: the only place that is written to.
RUN install -d -m 0700 -o itam -g itam instance
VOLUME /srv/itam/instance
USER itam
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/api/health\", timeout=2)"]
CMD ["python", "run.py"]
