#include "agent/kept.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_reader.h"

namespace consort::agent {
namespace {

Json to_json(const Kept& kept) {
  Json::Array snapshots;
  for (const Kept::Snapshot& item : kept.snapshots) {
    snapshots.push_back(Json::object(
        {{"tree", item.tree.str()}, {"manifest", item.manifest.str()}, {"at", item.at}}));
  }
  return Json::object({{"snapshots", snapshots},
                       {"previous", kept.previous ? Json(kept.previous->str()) : Json()},
                       {"dataVersion", kept.data_version ? Json(*kept.data_version) : Json()},
                       {"startedInBoot", kept.started_in_boot},
                       {"reachable", kept.reachable}});
}

Result<Kept> from_json(const Json& json) {
  JsonReader reader(json, "kept");
  Kept out;
  for (const Json& item : reader.array("snapshots")) {
    out.snapshots.push_back({TRY(Digest::parse(item.string_or("tree"))),
                             TRY(Digest::parse(item.string_or("manifest"))), item.string_or("at")});
  }
  if (const auto previous = reader.optional_string("previous"))
    out.previous = TRY(Digest::parse(*previous));
  if (const Json* version = reader.any("dataVersion"); version != nullptr && version->is_int())
    out.data_version = version->as_int();
  out.started_in_boot = reader.string("startedInBoot", "");
  out.reachable = reader.boolean("reachable", false);
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

Result<Kept> read_kept(const fs::path& path) {
  const std::string text = TRY(read_file(path, 1U << 20U));
  auto json = parse_json(text, path.string());
  auto kept = json ? from_json(*json) : Result<Kept>(tl::unexpected<Error>(json.error()));
  if (kept) return kept;
  return fail(ErrorCode::corrupt,
              fmt::format("{} is damaged: {}", path.string(), kept.error().message()))
      .hint("remove the file; the snapshots that it named are then collected");
}

}  // namespace

void Kept::add(Snapshot snapshot) {
  std::erase_if(snapshots, [&](const Snapshot& item) { return item.tree == snapshot.tree; });
  snapshots.push_back(std::move(snapshot));
  while (snapshots.size() > kMostSnapshots) snapshots.erase(snapshots.begin());
}

Result<Kept> KeptFiles::load(const std::string& service) const {
  auto kept = read_kept(folder_ / (service + ".json"));
  if (!kept && kept.error().code() == ErrorCode::not_found) return Kept{};
  return kept;
}

Status KeptFiles::save(const std::string& service, const Kept& kept) const {
  return write_file_atomic(folder_ / (service + ".json"), to_json(kept).dump() + "\n", 0600);
}

bool KeptFiles::holds_data(const std::string& service) const {
  const auto found = load(service);
  return found && found->data_version.has_value();
}

Result<std::vector<Digest>> KeptFiles::roots() const {
  std::vector<Digest> out;
  for (const fs::path& path : TRY(list_folder(folder_))) {
    if (path.extension() != ".json") continue;
    const Kept kept = TRY(read_kept(path));
    for (const Kept::Snapshot& snapshot : kept.snapshots) out.push_back(snapshot.tree);
    if (kept.previous) out.push_back(*kept.previous);
  }
  return out;
}

}  // namespace consort::agent
