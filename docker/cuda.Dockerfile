# gpubp on an NVIDIA GPU. CUDA's libraries come with CuPy's extra [ctk]; the host needs a driver for
# this CUDA version and the NVIDIA Container Toolkit:
#   docker build -f docker/cuda.Dockerfile --build-arg CUDA=13 -t gpubp:cuda .
#   docker run --rm --gpus all gpubp:cuda doctor
#   docker run --rm --gpus all -v "$PWD:/data" -v gpubp-cache:/cache \
#     --user "$(id -u):$(id -g)" gpubp:cuda train table.csv --target y -o model.safetensors
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
ARG CUDA=13
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[cuda${CUDA}]" && rm -r /wheels
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Mount a volume at /cache to keep compiled kernels from run to run.
ENV GPUBP_COMPILED=0 CUPY_CACHE_DIR=/cache/cupy PYTHONUNBUFFERED=1
RUN useradd --create-home gpubp && mkdir -m 1777 /cache
USER gpubp
WORKDIR /data
ENTRYPOINT ["gpubp"]
CMD ["--help"]
