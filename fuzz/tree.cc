// Trees, as they come with artifacts: whatever is accepted must be safe to unpack.
#include "objects/tree.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto read = [](const Json& json) { return objects::tree_from_json(json, "input"); };
  fuzz::round_trip(fuzz::text_of(data, size), read, objects::tree_to_json);
  const auto json = parse_json(fuzz::text_of(data, size));
  if (!json) return 0;
  const auto tree = read(*json);
  if (!tree) return 0;
  for (const auto& [path, entry] : *tree) {
    fuzz::require(!path.empty() && path.front() != '/', "paths are relative");
    fuzz::require(("/" + path + "/").find("/../") == std::string::npos, "no path leads out");
  }
  static_cast<void>(objects::tree_references(*tree));
  return 0;
}
