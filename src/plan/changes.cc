// What differs between two manifests, for people: paths, diffs, one reason.
#include <fmt/format.h>

#include <set>

#include "base/text.h"
#include "plan/plan.h"

namespace consort::plan {
namespace {

constexpr std::size_t kMostChanges = 200;

std::string brief(const Json& json) {
  if (json.is_null()) return "nothing";
  std::string text = json.is_string() ? json.as_string() : json.dump();
  if (text.starts_with("sha256:")) return text.substr(0, 19);
  return beginning_of(std::move(text), 80);
}

void compare(const std::string& service, const std::string& path, const Json& before,
             const Json& after, std::vector<Change>& out) {
  if (before == after || out.size() >= kMostChanges) return;
  if (before.is_object() && after.is_object()) {
    std::set<std::string> keys;
    for (const auto& [key, value] : before.as_object()) keys.insert(key);
    for (const auto& [key, value] : after.as_object()) keys.insert(key);
    static const Json null;
    for (const std::string& key : keys) {
      const Json* old_value = before.find(key);
      const Json* new_value = after.find(key);
      compare(service, path.empty() ? key : path + "." + key,
              old_value != nullptr ? *old_value : null, new_value != nullptr ? *new_value : null,
              out);
    }
    return;
  }
  const bool long_text =
      (before.is_string() && before.as_string().find('\n') != std::string::npos) ||
      (after.is_string() && after.as_string().find('\n') != std::string::npos);
  if (long_text && before.is_string() && after.is_string()) {
    out.push_back({service, path, unified_diff(before.as_string(), after.as_string())});
  } else {
    out.push_back({service, path, fmt::format("{} → {}", brief(before), brief(after))});
  }
}

bool secret_resource(const Json& spec) { return spec.bool_or("sensitive"); }

// Contents of sensitive resources are replaced by their digests before anything is compared.
Json masked(const Manifest& manifest) {
  Json json = manifest_to_json(manifest);
  for (auto& [name, spec] : json.as_object().at("resources").as_object()) {
    if (secret_resource(spec) && spec.find("content") != nullptr)
      spec["content"] = "sensitive, " + Digest::of(spec.string_or("content")).str();
  }
  return json;
}

}  // namespace

std::vector<Change> manifest_changes(const Manifest& before, const Manifest& after) {
  std::vector<Change> out;
  compare(after.service, "", masked(before), masked(after), out);
  return out;
}

std::string change_reason(const Manifest& before, const Manifest& after) {
  std::vector<std::string> reasons;
  std::set<std::string> seen;
  for (const Change& change : manifest_changes(before, after)) {
    const std::vector<std::string> parts = split(change.path, '.');
    const std::string& head = parts.front();
    const std::string name = parts.size() > 1 ? parts[1] : "";
    std::string reason = head;
    if (head == "artifacts") reason = "artifact " + name;
    if (head == "resources") reason = "resource " + name;
    if (head == "hooks") reason = "hook " + name;
    if (head == "needs") reason = "parameter of need " + name;
    if (head == "provides") reason = "endpoint " + name;
    if (head == "daemon") reason = "the daemon's definition";
    if (head == "secrets") reason = name.empty() ? "secrets" : "secret " + name;
    if (head == "version")
      reason = fmt::format("version {} → {}", brief(before.version), brief(after.version));
    if (head == "dataVersion")
      reason = fmt::format("data version {} → {}", before.data_version, after.data_version);
    if (seen.insert(reason).second) reasons.push_back(reason);
  }
  if (reasons.size() > 4) {
    const std::size_t more = reasons.size() - 4;
    reasons.resize(4);
    reasons.push_back(fmt::format("{} more", more));
  }
  return join(reasons, ", ");
}

}  // namespace consort::plan
