# gpubp on the CPU, without a compiler:
#   docker build -f docker/cpu.Dockerfile -t gpubp .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" gpubp train table.csv --target y
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
# Any user may run it, also one without a home folder.
ENV GPUBP_DEVICE=cpu GPUBP_COMPILED=0 PYTHONUNBUFFERED=1
RUN useradd --create-home gpubp
USER gpubp
WORKDIR /data
ENTRYPOINT ["gpubp"]
CMD ["--help"]
