// Files of environment variables of daemons.
#include "agent/supervisors/environment_file.h"
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto read = agent::parse_environment_file(fuzz::text_of(data, size));
  if (!read) return 0;
  for (const auto& [name, value] : *read) {
    fuzz::require(!name.empty() && name.find('=') == std::string::npos, "names are names");
    fuzz::require(value.find('\0') == std::string::npos, "an environment holds no NUL");
  }
  return 0;
}
