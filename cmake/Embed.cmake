# Writes OUTPUT, a C++ file with `std::string_view FUNCTION()` that gives the bytes of INPUT.
file(READ ${INPUT} content)
file(WRITE ${OUTPUT} "#include <string_view>\n")
string(REGEX REPLACE "::[^:]+$" "" namespace ${FUNCTION})
string(REGEX REPLACE "^.*::" "" name ${FUNCTION})
file(APPEND ${OUTPUT} "namespace ${namespace} {\nstd::string_view ${name}();\nstd::string_view ${name}() {\n  static constexpr std::string_view text = R\"consort(${content})consort\";\n  return text;\n}\n}\n")
