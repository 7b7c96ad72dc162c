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
                                  ${SONDE_CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang") # what LIBBPF_OPTS is made of
  add_compile_options(-Wno-gnu-statement-expression -Wno-c99-extensions)
endif()
# Line tables are what back traces need; the rest of the debug information costs a third of the time to compile.
add_compile_options($<$<NOT:$<CONFIG:Debug>>:-g1>)
# spdlog calls fmt; use Debian's fmt and not the copy inside.
add_compile_definitions(SPDLOG_FMT_EXTERNAL SONDE_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/bpf/include ${CMAKE_BINARY_DIR}/generated)

if(SONDE_SANITIZE)
  add_compile_options(-g1 -fsanitize=${SONDE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SONDE_SANITIZE})
endif()

if(SONDE_FUZZ) # coverage and checks in all our code; the targets themselves add libFuzzer's main
  set(fuzz_sanitizers fuzzer-no-link,address,undefined)
  add_compile_options(-fsanitize=${fuzz_sanitizers} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=${fuzz_sanitizers})
endif()
