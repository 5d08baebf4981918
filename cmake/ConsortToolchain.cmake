# Flags that every target shares: warnings are errors, mold links, ccache remembers.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Else it would not remember what precompiled headers are used for.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endif()
# -O3 compiles longer, and the simulation runs no faster with it.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

add_library(consort_flags INTERFACE)
target_compile_options(consort_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
  # GCC 12 reports these falsely on std::string and std::variant in optimised builds.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread -Wno-dangling-pointer>)
target_include_directories(consort_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(consort_flags INTERFACE _FILE_OFFSET_BITS=64)

# What nearly every file includes is parsed once, with the flags that all share: a quarter less time to compile.
# Each file still includes what it uses; clang-tidy sees it without this (`./dev lint`).
function(consort_precompiled name)
  cmake_parse_arguments(ARG "" "" "LINKS;HEADERS" ${ARGN})
  add_library(${name} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cc)
  target_link_libraries(${name} PRIVATE consort_flags ${ARG_LINKS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

if(CONSORT_SANITIZE)
  add_compile_options(-fsanitize=${CONSORT_SANITIZE} -fno-omit-frame-pointer -Og -g1)
  # A check at each use of a pointer: with GCC these three take as long to compile as all the rest, and ASan sees null by itself.
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fno-sanitize=null,alignment,object-size>)
  add_link_options(-fsanitize=${CONSORT_SANITIZE})
  add_compile_definitions(CONSORT_SANITIZED=1)
  if(CONSORT_SANITIZE MATCHES thread)
    # Asio's fences are unknown to TSan, and so they say at each; what matters has a mutex or an atomic besides.
    add_compile_options(-Wno-tsan)
  endif()
endif()

# What allocates in the programs (never in libraries): docs/dependencies.md says why. Sanitizers bring their own.
add_library(consort_allocator INTERFACE)
if(NOT CONSORT_SANITIZE AND NOT CONSORT_FUZZ)
  find_library(JEMALLOC_LIBRARY NAMES libjemalloc_pic.a REQUIRED)
  # Whole: no object of ours asks for its symbols by name.
  target_link_libraries(consort_allocator INTERFACE "$<LINK_LIBRARY:WHOLE_ARCHIVE,${JEMALLOC_LIBRARY}>" Threads::Threads ${CMAKE_DL_LIBS})
  target_sources(consort_allocator INTERFACE ${CMAKE_SOURCE_DIR}/cmake/allocator.cc)
endif()
