// What inventories look like: our own form and Ansible's.
#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/text.h"
#include "fleet/fleet.h"

namespace consort::fleet {
namespace {

std::string scalar_text(const Json& json) {
  return json.is_string() ? json.as_string() : json.dump();
}

Result<Host> host_from(const std::string& name, const Json& json, const std::string& origin) {
  Host host{name, name, {}};
  if (json.is_null()) return host;
  if (json.is_string()) {
    host.address = json.as_string();
    return host;
  }
  if (!json.is_object())
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: host {} is {}, not an object", origin, name, json.type_name()));
  for (const auto& [key, value] : json.as_object()) {
    if (key == "address" && value.is_string()) {
      host.address = value.as_string();
    } else if (key == "labels" && value.is_object()) {
      for (const auto& [label, text] : value.as_object()) host.labels[label] = scalar_text(text);
    } else if (key == "address" || key == "labels") {
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: host {}: {} is {}, not {}", origin, name, key, value.type_name(),
                              key == "address" ? "a text" : "an object"))
          .hint(key == "address" ? "write address: 10.0.0.1 (in quotes where it is only a number)"
                                 : "write labels: { rack: r7 }");
    } else if (key != "name") {
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: host {}: unknown field '{}'", origin, name, key))
          .hint("a host has the fields address and labels");
    }
  }
  return host;
}

Result<std::vector<Host>> host_list(const Json& json, const std::string& origin) {
  std::vector<Host> out;
  if (json.is_object()) {
    for (const auto& [name, item] : json.as_object())
      out.push_back(TRY(host_from(name, item, origin)));
  } else if (json.is_array()) {
    for (const Json& item : json.as_array()) {
      if (item.is_string()) {
        out.push_back({item.as_string(), item.as_string(), {}});
        continue;
      }
      const std::string name = item.string_or("name");
      if (name.empty())
        return fail(ErrorCode::invalid_input, fmt::format("{}: a host without a name", origin));
      out.push_back(TRY(host_from(name, item, origin)));
    }
  } else {
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: expected hosts as an object or a list, found {}", origin,
                            json.type_name()));
  }
  return out;
}

Failure no_group(const Json::Object& groups, const std::string& group, const std::string& origin) {
  std::vector<std::string> names;
  for (const auto& [name, value] : groups) {
    if (name != "_meta") names.push_back(name);
  }
  return fail(ErrorCode::not_found, fmt::format("{} has no group '{}'", origin, group))
      .hint(fmt::format("it has {}; choose one with inventory.group", join(names, ", ")));
}

// Ansible lets groups hold groups, also in circles. Not recursive: the chain may be as long as the
// document.
Result<std::set<std::string>> hosts_of_group(const Json& all, const std::string& group,
                                             const std::string& origin) {
  std::set<std::string> hosts;
  std::set<std::string> seen = {group};
  std::vector<std::string> open = {group};
  while (!open.empty()) {
    const std::string name = std::move(open.back());
    open.pop_back();
    const Json* item = all.find(name);
    if (item == nullptr) continue;
    const Json* members = item->is_array() ? item : item->find("hosts");
    if (members != nullptr && members->is_array()) {
      for (const Json& host : members->as_array()) {
        if (!host.is_string())
          return fail(ErrorCode::invalid_input,
                      fmt::format("{}: group {}: a host that is no string", origin, name));
        hosts.insert(host.as_string());
      }
    }
    const Json* children = item->find("children");
    if (children == nullptr || !children->is_array()) continue;
    for (const Json& child : children->as_array()) {
      if (child.is_string() && seen.insert(child.as_string()).second)
        open.push_back(child.as_string());
    }
  }
  return hosts;
}

Result<std::vector<Host>> from_ansible(const Json& json, const std::string& group,
                                       const std::string& origin) {
  if (json.find(group) == nullptr) return no_group(json.as_object(), group, origin);
  const std::set<std::string> names = TRY(hosts_of_group(json, group, origin));
  const Json* hostvars = json.find("_meta")->find("hostvars");
  std::vector<Host> out;
  for (const std::string& name : names) {
    Host host{name, name, {}};
    if (const Json* vars = hostvars != nullptr ? hostvars->find(name) : nullptr;
        vars != nullptr && vars->is_object()) {
      host.address = vars->string_or("ansible_host", name);
      for (const auto& [key, value] : vars->as_object()) {
        const bool scalar = value.is_string() || value.is_number() || value.is_bool();
        if (scalar && !key.starts_with("ansible_")) host.labels[key] = scalar_text(value);
      }
    }
    out.push_back(std::move(host));
  }
  return out;
}

// Aliases can blow a small file up to any size; inventories have no use for them.
class RefuseAliases final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "aliases are not allowed in inventories");
  }
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

Result<Json> convert(const YAML::Node& node, const std::string& origin, int depth) {
  if (depth > 50)
    return fail(ErrorCode::invalid_input, fmt::format("{}: nested too deeply", origin));
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      return Json();
    case YAML::NodeType::Scalar: {
      const std::string& text = node.Scalar();
      if (node.Tag() == "!") return Json(text);  // quoted
      if (text == "true" || text == "false") return Json(text == "true");
      if (!text.empty() && text.size() < 16 &&
          text.find_first_not_of("0123456789") == std::string::npos &&
          (text.size() == 1 || text[0] != '0'))
        return Json(std::stoll(text));
      return Json(text);
    }
    case YAML::NodeType::Sequence: {
      Json::Array out;
      for (const auto& item : node) out.push_back(TRY(convert(item, origin, depth + 1)));
      return Json(std::move(out));
    }
    case YAML::NodeType::Map: {
      Json::Object out;
      for (const auto& item : node) {
        const std::string key = item.first.Scalar();
        if (out.contains(key)) {
          SourceSpan span{origin, item.first.Mark().line + 1, item.first.Mark().column + 1, "", 1};
          return fail(ErrorCode::invalid_input, fmt::format("'{}' is there twice", key)).at(span);
        }
        out.emplace(key, TRY(convert(item.second, origin, depth + 1)));
      }
      return Json(std::move(out));
    }
  }
  return Json();
}

// In our own form nothing is skipped: a host that stands at the wrong depth would be silently
// missing.
Status check_only(const Json::Object& object, std::string_view known, const std::string& where) {
  for (const auto& [key, value] : object) {
    if (key == known) continue;
    const std::string guess = did_you_mean(key, std::vector<std::string_view>{known});
    return fail(ErrorCode::invalid_input, fmt::format("{}: unknown field '{}'", where, key))
        .hint(guess.empty()
                  ? fmt::format("nothing stands beside {0}; if '{1}' belongs below {0}, indent it",
                                known, key)
                  : fmt::format("did you mean '{}'?", guess));
  }
  return {};
}

Result<std::vector<Host>> from_groups(const Json::Object& groups, const std::string& group,
                                      const std::string& origin) {
  const auto found = groups.find(group);
  if (found == groups.end()) return no_group(groups, group, origin);
  const Json* hosts = found->second.find("hosts");
  if (hosts == nullptr) return host_list(found->second, origin);
  TRYV(check_only(found->second.as_object(), "hosts", fmt::format("{}: group {}", origin, group)));
  return host_list(*hosts, origin);
}

}  // namespace

Result<std::vector<Host>> hosts_from_json(const Json& json, const std::string& group,
                                          const std::string& origin) {
  if (json.is_array()) return host_list(json, origin);
  if (!json.is_object())
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: {}", origin,
                            json.is_null()
                                ? "there is nothing in it"
                                : "expected an object, found " + std::string(json.type_name())))
        .hint("write hosts: { web1: { address: 10.0.0.1, labels: {…} } }");
  if (json.find("_meta") != nullptr) return from_ansible(json, group, origin);
  if (const Json* groups = json.find("groups"); groups != nullptr && groups->is_object()) {
    TRYV(check_only(json.as_object(), "groups", origin));
    return from_groups(groups->as_object(), group, origin);
  }
  if (const Json* hosts = json.find("hosts")) {
    TRYV(check_only(json.as_object(), "hosts", origin));
    return host_list(*hosts, origin);
  }
  // Ansible's own YAML form has groups at its top, with hosts, children or vars in each.
  const bool is_ansible =
      std::any_of(json.as_object().begin(), json.as_object().end(), [](const auto& member) {
        return member.second.find("hosts") != nullptr || member.second.find("children") != nullptr;
      });
  return fail(ErrorCode::invalid_input,
              fmt::format("{} has neither 'hosts' nor 'groups' nor Ansible's '_meta'", origin))
      .hint(is_ansible ? "this looks like an inventory of Ansible; take it as a program: "
                         "c.inventory.exec(['ansible-inventory', '-i', 'FILE', '--list'])"
                       : "write hosts: { web1: { address: 10.0.0.1, labels: {…} } }");
}

namespace {

// A line "[web]" and more below it: to YAML that is a list, followed by words that it ignores.
bool looks_like_ini(std::string_view text) {
  bool section = false;
  for (const std::string& raw : split(text, '\n')) {
    const std::string_view line = trim(raw);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (section) return true;
    if (line.front() != '[' || line.back() != ']' || line.find(',') != std::string_view::npos)
      return false;
    section = true;
  }
  return false;
}

}  // namespace

Result<Json> yaml_to_json(std::string_view text, const std::string& origin) {
  if (looks_like_ini(text))
    return fail(
               ErrorCode::invalid_input,
               fmt::format("{} is neither YAML nor JSON; it looks like an INI inventory of Ansible",
                           origin))
        .hint("let Ansible read it: c.inventory.exec(['ansible-inventory', '--list', '-i', FILE])");
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    RefuseAliases refuse;
    // The first document is all that Load() takes; asking for more may never end on malformed ones.
    parser.HandleNextDocument(refuse);
    return convert(YAML::Load(std::string(text)), origin, 0);
  } catch (const YAML::Exception& error) {
    SourceSpan span{origin, error.mark.line + 1, error.mark.column + 1, "", 1};
    const auto lines = split(text, '\n');
    if (error.mark.line >= 0 && static_cast<std::size_t>(error.mark.line) < lines.size())
      span.excerpt = lines[static_cast<std::size_t>(error.mark.line)].substr(0, 200);
    return fail(ErrorCode::invalid_input, fmt::format("not valid YAML: {}", error.msg))
        .at(std::move(span));
  }
}

}  // namespace consort::fleet
