// What differs between two manifests, for people: paths, diffs, one reason.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "plan/plan.h"

namespace consort::plan {
namespace {

constexpr std::size_t kMostChanges = 200;

constexpr std::size_t kBrief = 80;

std::string text_of(const Json& json) {
  if (json.is_null()) return "nothing";
  std::string text = json.is_string() ? json.as_string() : json.dump();
  return text.starts_with("sha256:") ? text.substr(0, 19) : text;
}

std::string brief(const Json& json) { return beginning_of(text_of(json), kBrief); }

// Of long texts, the places where they differ.
std::string brief_change(const Json& before, const Json& after) {
  constexpr std::size_t kLead = 20;
  const std::string old_text = text_of(before);
  const std::string new_text = text_of(after);
  const auto [old_end, new_end] =
      std::mismatch(old_text.begin(), old_text.end(), new_text.begin(), new_text.end());
  auto begin = static_cast<std::size_t>(old_end - old_text.begin());
  const bool fits = old_text.size() <= kBrief && new_text.size() <= kBrief;
  begin = fits || begin <= kLead ? 0 : begin - kLead;
  while (begin > 0 && (static_cast<unsigned char>(old_text[begin]) & 0xc0U) == 0x80U) --begin;
  const std::string_view left_out = begin > 0 ? "…" : "";
  return fmt::format("{}{} → {}{}", left_out, beginning_of(old_text.substr(begin), kBrief),
                     left_out, beginning_of(new_text.substr(begin), kBrief));
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
    out.push_back({service, path, brief_change(before, after)});
  }
}

// What is sensitive on either side: a value is not shown because it has been none of that before.
std::set<std::string> sensitive_resources(const Manifest& before, const Manifest& after) {
  std::set<std::string> out;
  for (const Manifest* manifest : {&before, &after}) {
    for (const auto& [name, spec] : manifest->resources) {
      if (spec.bool_or("sensitive")) out.insert(name);
    }
  }
  return out;
}

// All that such a resource says becomes one digest before anything is compared, but for what it is
// found by: the content of a file, the words and the environment of a command, where a link leads.
Json masked(const Manifest& manifest, const std::set<std::string>& sensitive) {
  Json json = manifest_to_json(manifest);
  for (auto& [name, spec] : json.as_object().at("resources").as_object()) {
    if (!sensitive.contains(name)) continue;
    Json shown = Json::object({{"content", "sensitive, " + Digest::of(spec.dump()).str()}});
    for (const char* key : {"type", "path", "name", "purpose"}) {
      if (const Json* value = spec.find(key); value != nullptr) shown[key] = *value;
    }
    spec = std::move(shown);
  }
  return json;
}

}  // namespace

std::vector<Change> manifest_changes(const Manifest& before, const Manifest& after) {
  const std::set<std::string> sensitive = sensitive_resources(before, after);
  std::vector<Change> out;
  compare(after.service, "", masked(before, sensitive), masked(after, sensitive), out);
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
