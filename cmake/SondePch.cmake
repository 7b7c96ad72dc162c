# SPDX-License-Identifier: Apache-2.0
# Headers that most files include, parsed once per tree. With clang that saves two seconds of the five to ten that a file
# takes. With g++ it can be switched on and saves about as much, for 100 MB on the disk per set; it is off, so that the
# release and debug presets find the file that does not include what it uses, and share ccache's results across checkouts:
# with precompiled headers, ccache 4.7 finds its results only for the same path.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(by_default ON)
else()
  set(by_default OFF)
endif()
option(SONDE_PCH "Precompile the headers that most files include" ${by_default})

# What uses a precompiled header must be compiled as it was, threads included; ccache has more wishes, see its manual.
if(SONDE_PCH)
  add_compile_options(-pthread)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  else()
    add_compile_options(-fpch-preprocess)
  endif()
endif()

set(SONDE_PCH_HEADERS
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <cstring> <deque> <filesystem> <fstream>
    <functional> <map> <memory> <mutex> <optional> <random> <set> <span> <sstream> <string> <string_view> <thread>
    <unordered_map> <utility> <vector> <spdlog/fmt/fmt.h>)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang") # which reads of them what is used; g++ reads everything
  list(APPEND SONDE_PCH_HEADERS <nlohmann/json.hpp> <spdlog/spdlog.h>)
endif()

# Two sets, because tests are compiled with other options than what ships.
# sonde_pch_set(name OPTIONS options… LIBRARIES targets… HEADERS headers…): what sonde_pch(target name) uses.
function(sonde_pch_set name)
  cmake_parse_arguments(ARG "" "" "OPTIONS;LIBRARIES;HEADERS" ${ARGN})
  if(NOT SONDE_PCH)
    return()
  endif()
  set(nothing ${CMAKE_BINARY_DIR}/generated/${name}.cpp)
  file(CONFIGURE OUTPUT ${nothing} CONTENT "")
  add_library(${name} OBJECT ${nothing})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_link_libraries(${name} PRIVATE spdlog::spdlog nlohmann_json::nlohmann_json ${ARG_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${SONDE_PCH_HEADERS} ${ARG_HEADERS})
endfunction()

function(sonde_pch target name)
  if(SONDE_PCH)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()
