# SPDX-License-Identifier: Apache-2.0
# The image of agent and operator. Only Debian packages are fetched; both bases may be your own (Debian 12):
#   docker build -t sonde .
#   buildah bud --build-arg BUILD_IMAGE=my-debian --build-arg RUN_IMAGE=my-debian -t sonde .
# CCACHE_DIR is /ccache: mount one there (buildah bud -v DIR:/ccache) to build again in a minute.
ARG BUILD_IMAGE=docker.io/library/debian:bookworm-slim
ARG RUN_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# Before the sources: packages stay in their layer while the code changes.
COPY cmake/deps.sh cmake/deps.sh
RUN cmake/deps.sh build
COPY . .
ARG JOBS
RUN export CCACHE_DIR=/ccache DEPS_QUIET=1 ${JOBS:+JOBS=$JOBS} \
 && cmake --preset release -DSONDE_TESTS=OFF \
 && cmake/build.sh release sonde \
 && strip -o sonde build/sonde

FROM ${RUN_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Sonde" \
      org.opencontainers.image.description="Counts with eBPF, per container, what the Linux kernel does" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY cmake/deps.sh /tmp/deps.sh
# The operator, and the agent's commands that only ask it, run as this user. The agent itself needs user 0, since Kubernetes
# gives capabilities to no other; of root's powers it has those in the chart, BPF and PERFMON first.
RUN /tmp/deps.sh run \
 && rm -rf /tmp/deps.sh /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/* \
 && echo 'sonde:x:65532:65532:sonde:/:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'sonde:x:65532:' >>/etc/group
COPY --from=build /src/sonde /usr/bin/sonde
COPY LICENSE NOTICE /usr/share/doc/sonde/
COPY LICENSES /usr/share/doc/sonde/LICENSES
# A library that is missing shows here and not on the first node.
RUN ["/usr/bin/sonde", "--version"]
ENTRYPOINT ["/usr/bin/sonde"]
