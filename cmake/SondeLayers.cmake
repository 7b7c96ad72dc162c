# SPDX-License-Identifier: Apache-2.0
# sonde_layer(name [UNITY] [COLD] DEPENDS targets…): agent/<name>/*.cpp as library sonde_<name>. Which layer may include which
# is checked by tests/unit/tree/layers_test.cpp.
# UNITY: about ten files are compiled as one unit, in half the time. Their anonymous namespaces become one: if a new file
# reuses a name, the compiler reports it, and the name has to change.
# COLD: what runs rarely, or mostly waits, is optimized less: most of it is templates of HTTP, gRPC and JSON libraries.
function(sonde_unity target)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources count)
  math(EXPR units "(${count} + 10) / 11")
  math(EXPR size "(${count} + ${units} - 1) / ${units}")
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${size})
  # g++ takes the .cpp files that a unity file includes for headers. clang compares the names of one file with those in the
  # anonymous namespaces of the others; what a file shadows in itself g++ finds.
  target_compile_options(${target} PRIVATE $<IF:$<CXX_COMPILER_ID:GNU>,-Wno-subobject-linkage,-Wno-shadow>)
endfunction()

function(sonde_layer name)
  cmake_parse_arguments(ARG "UNITY;COLD" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/agent/${name}/*.cpp)
  if(sources)
    add_library(sonde_${name} STATIC ${sources})
    target_link_libraries(sonde_${name} PUBLIC ${ARG_DEPENDS})
    sonde_pch(sonde_${name} sonde_headers)
    if(ARG_COLD)
      target_compile_options(sonde_${name} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
    endif()
    if(ARG_UNITY)
      sonde_unity(sonde_${name})
    endif()
  else()
    add_library(sonde_${name} INTERFACE)
    target_link_libraries(sonde_${name} INTERFACE ${ARG_DEPENDS})
  endif()
endfunction()
