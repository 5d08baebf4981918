// What `consort apply` and an agent make of resources: schema, typed parsing, order. Nothing is
// looked at on the disk and nothing is run.
#include "agent/graph.h"
#include "agent/resource.h"
#include "fuzz/input.h"
#include "site/schema.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto json = parse_json(fuzz::text_of(data, size));
  if (!json || !json->is_object()) return 0;
  const Json* specs = json->find("resources");
  if (specs == nullptr || !specs->is_object()) return 0;
  std::vector<std::unique_ptr<agent::Resource>> resources;
  for (const auto& [name, spec] : specs->as_object()) {
    static_cast<void>(site::check_tagged(spec, site::resource_schemas(), "resources." + name));
    auto resource = agent::parse_resource(name, spec, "/srv/root");
    if (!resource) continue;
    for (const std::string& claim : (*resource)->claims())
      fuzz::require(!claim.empty(), "a claim says what is claimed");
    resources.push_back(std::move(*resource));
  }
  if (const auto graph = agent::build_graph(resources))
    fuzz::require(graph->order.size() == resources.size(), "every resource has its place");
  return 0;
}
