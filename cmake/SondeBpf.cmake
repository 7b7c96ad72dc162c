# SPDX-License-Identifier: Apache-2.0
# BPF objects: bpf/core and every folder of bpf/modules, compiled for x86 and arm64; the one of this machine is embedded.
# A module's number is its place in the sorted list of folders; generated/module_table.cpp has them all.
find_program(SONDE_CLANG NAMES clang-14 clang REQUIRED)
find_program(SONDE_LLVM_STRIP NAMES llvm-strip-14 llvm-strip REQUIRED)
find_program(SONDE_BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(SONDE_BPF_ARCH arm64)
else()
  set(SONDE_BPF_ARCH x86)
endif()

file(GLOB SONDE_MODULE_DIRS CONFIGURE_DEPENDS LIST_DIRECTORIES true ${CMAKE_SOURCE_DIR}/bpf/modules/*)
set(SONDE_MODULES "")
foreach(dir ${SONDE_MODULE_DIRS})
  get_filename_component(name ${dir} NAME)
  if(EXISTS ${dir}/${name}.bpf.c)
    list(APPEND SONDE_MODULES ${name})
  endif()
endforeach()
list(SORT SONDE_MODULES)

file(GLOB SONDE_BPF_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/include/sonde/*.h)
set(SONDE_GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${SONDE_GENERATED} ${CMAKE_BINARY_DIR}/bpf)

# sonde_bpf_object(name source module_id header-folder): compiles for both architectures, makes <name>.skel.h
function(sonde_bpf_object name source id)
  get_filename_component(folder ${source} DIRECTORY)
  file(GLOB own CONFIGURE_DEPENDS ${folder}/*.h ${folder}/*.bpf.c)
  foreach(arch x86 arm64)
    set(object ${CMAKE_BINARY_DIR}/bpf/${arch}/${name}.bpf.o)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bpf/${arch})
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${SONDE_CLANG} -g -O2 -mcpu=v3 -target bpf -D__TARGET_ARCH_${arch} -DSONDE_MODULE_ID=${id}
              -I${CMAKE_SOURCE_DIR}/bpf/include -I${CMAKE_SOURCE_DIR}/bpf/vmlinux/${arch} -I${folder} -I${CMAKE_SOURCE_DIR}
              -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -c ${source} -o ${object}
      COMMAND ${SONDE_LLVM_STRIP} -g ${object}
      DEPENDS ${own} ${SONDE_BPF_HEADERS} ${CMAKE_SOURCE_DIR}/bpf/vmlinux/${arch}/vmlinux.h
      COMMENT "BPF ${arch} ${name}" VERBATIM)
    set_property(GLOBAL APPEND PROPERTY SONDE_BPF_OBJECTS ${object})
    if(arch STREQUAL SONDE_BPF_ARCH)
      set_property(GLOBAL APPEND PROPERTY SONDE_BPF_NATIVE ${object})
    endif()
  endforeach()
  add_custom_command(
    OUTPUT ${SONDE_GENERATED}/${name}.skel.h
    COMMAND ${SONDE_BPFTOOL} gen skeleton ${CMAKE_BINARY_DIR}/bpf/${SONDE_BPF_ARCH}/${name}.bpf.o name ${name}_bpf
            > ${SONDE_GENERATED}/${name}.skel.h
    DEPENDS ${CMAKE_BINARY_DIR}/bpf/${SONDE_BPF_ARCH}/${name}.bpf.o
    COMMENT "Skeleton ${name}" VERBATIM)
  set_property(GLOBAL APPEND PROPERTY SONDE_SKELETONS ${SONDE_GENERATED}/${name}.skel.h)
endfunction()

# The core's losses stand in the last row.
sonde_bpf_object(core ${CMAKE_SOURCE_DIR}/bpf/core/core.bpf.c 15)
set(id 0)
set(SONDE_TABLE_INCLUDES "")
set(SONDE_TABLE_DECLARATIONS "")
set(SONDE_TABLE_ENTRIES "")
foreach(name ${SONDE_MODULES})
  sonde_bpf_object(${name} ${CMAKE_SOURCE_DIR}/bpf/modules/${name}/${name}.bpf.c ${id})
  string(APPEND SONDE_TABLE_INCLUDES "#include \"${name}.skel.h\"\n")
  string(APPEND SONDE_TABLE_DECLARATIONS "const Module& sonde_module_${name}();\n")
  string(APPEND SONDE_TABLE_ENTRIES
         "        {&sonde_module_${name}(), bytes_of(&${name}_bpf::elf_bytes)},\n")
  math(EXPR id "${id} + 1")
endforeach()
if(id GREATER 15)
  message(FATAL_ERROR "${id} probes: the flags and losses of a subject have room for 15 (SONDE_MAX_MODULES in sonde/abi.h)")
endif()
get_property(objects GLOBAL PROPERTY SONDE_BPF_OBJECTS)
get_property(skeletons GLOBAL PROPERTY SONDE_SKELETONS)
add_custom_target(bpf ALL DEPENDS ${objects} ${skeletons})
# What the binary and its tests need; the other architecture's objects are for the virtual machines.
get_property(native GLOBAL PROPERTY SONDE_BPF_NATIVE)
add_custom_target(bpf_native DEPENDS ${native} ${skeletons})

# bpf/modules/*/<name>.cpp and the generated table, as library sonde_modules.
function(sonde_modules)
  configure_file(${CMAKE_SOURCE_DIR}/cmake/module_table.cpp.in ${SONDE_GENERATED}/module_table.cpp @ONLY)
  set(sources ${SONDE_GENERATED}/module_table.cpp)
  foreach(name ${SONDE_MODULES})
    list(APPEND sources ${CMAKE_SOURCE_DIR}/bpf/modules/${name}/${name}.cpp)
  endforeach()
  add_library(sonde_modules STATIC ${sources} ${skeletons})
  add_dependencies(sonde_modules bpf_native)
  # The generated skeletons are not written for our warnings.
  set_source_files_properties(${SONDE_GENERATED}/module_table.cpp PROPERTIES COMPILE_OPTIONS "-w")
  target_link_libraries(sonde_modules PUBLIC sonde_module PkgConfig::libbpf)
  sonde_pch(sonde_modules sonde_headers)
  # modules() is declared in one and defined in the other: the linker must see the table after whoever asks for it.
  target_link_libraries(sonde_module INTERFACE sonde_modules)
  # They need each other; a binary that asks neither for much needs a third turn of the linker.
  set_target_properties(sonde_module sonde_modules PROPERTIES LINK_INTERFACE_MULTIPLICITY 3)
  if(TARGET sonde_kernel)
    add_dependencies(sonde_kernel bpf_native)
  endif()
endfunction()
