# SPDX-License-Identifier: Apache-2.0
# sonde_layer(name [UNITY] DEPENDS targets…): agent/<name>/*.cpp as library sonde_<name>. Which layer may include which is
# checked by tests/unit/tree/layers_test.cpp.
# UNITY: several files are compiled as one unit, in half the time. Their anonymous namespaces become one: if a new file reuses a
# name, the compiler reports it, and the name has to change.
function(sonde_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
  # g++ takes the .cpp files that a unity file includes for headers.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()

function(sonde_layer name)
  cmake_parse_arguments(ARG "UNITY" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/agent/${name}/*.cpp)
  if(sources)
    add_library(sonde_${name} STATIC ${sources})
    target_link_libraries(sonde_${name} PUBLIC ${ARG_DEPENDS})
    sonde_pch(sonde_${name} sonde_headers)
    if(ARG_UNITY)
      sonde_unity(sonde_${name})
    endif()
  else()
    add_library(sonde_${name} INTERFACE)
    target_link_libraries(sonde_${name} INTERFACE ${ARG_DEPENDS})
  endif()
endfunction()
