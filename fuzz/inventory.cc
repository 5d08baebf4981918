// Inventory documents: YAML or JSON, our own form or Ansible's.
#include "fleet/fleet.h"
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto json = parse_json(text)) {
    static_cast<void>(fleet::hosts_from_json(*json, "web", "input"));
    static_cast<void>(fleet::hosts_from_json(*json, "", "input"));
  }
  if (const auto json = fleet::yaml_to_json(text, "input"))
    static_cast<void>(fleet::hosts_from_json(*json, "web", "input"));
  return 0;
}
