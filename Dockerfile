# syntax=docker/dockerfile:1
# A static `weir` and nothing else: no shell, no package manager, no user but its own.
#
#   docker build -t weir .                                  # for one machine
#   docker build -t weir --build-arg FEATURES=aws .         # with the engine on AWS beside it
#   docker run -p 127.0.0.1:8080:8080 -v weir-data:/data -v weir-backup:/backup weir

FROM rust:1.95.0-alpine AS build
WORKDIR /weir
# The target of this image links everything statically.
COPY Cargo.toml Cargo.lock ./
COPY answers answers
COPY benches benches
COPY catalog catalog
COPY crates crates
COPY functions functions
COPY src src
ARG FEATURES=""
RUN cargo build --profile serve --locked --package weir --features "$FEATURES" \
    && mkdir -p /image/data /image/backup /image/tmp \
    && chmod 0700 /image/data /image/backup \
    && chmod 1777 /image/tmp

FROM scratch
# For TLS: traces, `weir send`, and the engine on AWS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The data folder, one for a volume of backups, and one for temporary files, which the fan-out needs.
COPY --from=build --chown=10001:10001 /image/ /
COPY --from=build /weir/target/serve/weir /weir
USER 10001:10001
ENV WEIR_LISTEN=0.0.0.0:8080 WEIR_DATA=/data
VOLUME /data
EXPOSE 8080
# There is no shell and no curl to ask with.
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s CMD ["/weir", "health"]
# Docker kills a container that takes longer than 10 seconds to stop; docker stop --timeout 60 waits longer.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/weir"]
CMD ["serve"]
