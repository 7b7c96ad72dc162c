# SPDX-License-Identifier: Apache-2.0
# How everything is compiled: C++20, warnings as errors, ccache when present, sanitizers when asked.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(SONDE_CCACHE ccache)
if(SONDE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # base_dir makes two checkouts share what they compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
                                  CCACHE_SLOPPINESS=pch_defines,time_macros ${SONDE_CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-Wthread-safety) # see agent/base/mutex.h
  add_compile_options(-Wno-gnu-statement-expression -Wno-c99-extensions) # what LIBBPF_OPTS is made of
endif()
add_compile_definitions($<$<CONFIG:Debug>:SONDE_CHECKED>) # see agent/base/check.h
# Line tables are what back traces need; the rest of the debug information costs a third of the time to compile.
add_compile_options($<$<NOT:$<CONFIG:Debug>>:-g1>)
# spdlog calls fmt; use Debian's fmt and not the copy inside.
add_compile_definitions(SPDLOG_FMT_EXTERNAL SONDE_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/bpf/include ${CMAKE_BINARY_DIR}/generated)

# Fuzz targets need coverage in all of Sonde's code; nothing else minds it, so that one tree makes them and the unit tests.
if(SONDE_SANITIZE)
  set(instrumented ${SONDE_SANITIZE})
  if(SONDE_FUZZ)
    string(PREPEND instrumented "fuzzer-no-link,")
    add_compile_options($<$<CONFIG:RelWithDebInfo>:-O1>)
  endif()
  add_compile_definitions(SONDE_CHECKED)
  add_compile_options(-g1 -fsanitize=${instrumented} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SONDE_SANITIZE})
endif()
