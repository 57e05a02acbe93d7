# docker build -t logan-campaign .    then: docker run -v "$PWD:/work" logan-campaign run spec.yaml
# Not built: image registries were out of reach where this was written. This runs the shell steps in
# a tree of the same Debian: scripts/fresh trixie FOLDER scripts/image
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3
COPY . /opt/logan-campaign
RUN /opt/logan-campaign/scripts/image
ENV PATH=/opt/logan-campaign/.venv/bin:$PATH OMP_NUM_THREADS=1
WORKDIR /work
ENTRYPOINT ["logan-campaign"]
