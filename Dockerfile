# syntax=docker/dockerfile:1

FROM rust:bookworm AS builder
WORKDIR /src
COPY . .
# The caches outlive this build, so a change of ours does not compile the world again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin shardway \
    && install -D target/release/shardway /out/shardway

FROM debian:bookworm-slim
# A numeric user, so that an orchestrator can see that it is not root.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin shardway
COPY --from=builder /out/shardway /usr/local/bin/shardway
USER 10001
# Clients, and /metrics with /health.
EXPOSE 6432 9632
ENTRYPOINT ["shardway"]
CMD ["serve"]
