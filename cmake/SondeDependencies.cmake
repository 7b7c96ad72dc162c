# SPDX-License-Identifier: Apache-2.0
# All from Debian 12; `make deps` installs them. docs/adr/0002-dependencies.md says why each.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(spdlog REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(cpprestsdk REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(zydis REQUIRED)
pkg_check_modules(libbpf REQUIRED IMPORTED_TARGET libbpf)

# System headers that do not compile cleanly under our warnings are included as such by their imported targets.
add_library(sonde_cpprest INTERFACE)
target_link_libraries(sonde_cpprest INTERFACE cpprestsdk::cpprest OpenSSL::SSL OpenSSL::Crypto)
add_library(sonde_cli11 INTERFACE)
target_link_libraries(sonde_cli11 INTERFACE CLI11::CLI11)
