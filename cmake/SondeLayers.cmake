# SPDX-License-Identifier: Apache-2.0
# sonde_layer(name DEPENDS targets…): agent/<name>/*.cpp as library sonde_<name>. Which layer may include which is
# checked by tests/unit/tree/layers_test.cpp.
function(sonde_layer name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/agent/${name}/*.cpp)
  if(sources)
    add_library(sonde_${name} STATIC ${sources})
    target_link_libraries(sonde_${name} PUBLIC ${ARG_DEPENDS})
    sonde_pch(sonde_${name} sonde_headers)
  else()
    add_library(sonde_${name} INTERFACE)
    target_link_libraries(sonde_${name} INTERFACE ${ARG_DEPENDS})
  endif()
endfunction()
