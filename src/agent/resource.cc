#include "agent/resource.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "agent/originals.h"
#include "agent/resources/artifact.h"
#include "agent/resources/command.h"
#include "agent/resources/daemon.h"
#include "agent/resources/directory.h"
#include "agent/resources/file.h"
#include "agent/resources/group.h"
#include "agent/resources/symlink.h"
#include "agent/resources/user.h"
#include "agent/secret_source.h"
#include "base/text.h"
#include "crypto/random.h"
#include "objects/store.h"

namespace consort::agent {
namespace {

constexpr std::array<std::string_view, 9> kCommonKeys = {"type",      "purpose",     "when",
                                                         "after",     "enforcement", "timeout",
                                                         "sensitive", "onRemoval",   "onChange"};

CommonFields read_common(JsonReader& reader) {
  CommonFields out;
  out.purpose = reader.string("purpose", "");
  if (const auto when = reader.optional_string("when")) {
    auto selector = Selector::parse(*when);
    if (selector) {
      out.when = std::make_unique<Selector>(std::move(*selector));
    } else {
      reader.note(
          std::move(selector.error()).context(fmt::format("reading {}", reader.path_of("when"))));
    }
  }
  out.after = reader.strings("after");
  out.enforcement =
      static_cast<Enforcement>(read_choice(reader, "enforcement", {"enforce", "warn", "audit"}));
  out.timeout = read_duration(reader, "timeout");
  out.sensitive = reader.boolean("sensitive", false);
  out.on_removal = static_cast<OnRemoval>(read_choice(reader, "onRemoval", {"keep", "revert"}));
  out.on_change = static_cast<OnChange>(read_choice(reader, "onChange", {"restart", "ignore"}));
  return out;
}

Digest wish_of(const Json& spec) {
  Json wish = spec;
  for (const std::string_view key : kCommonKeys) {
    if (key != "type") wish.as_object().erase(std::string(key));
  }
  return Digest::of(wish.dump());
}

}  // namespace

const std::vector<ResourceType>& resource_types() {
  static const std::vector<ResourceType> types = {
      {"artifact", "what a service has brought along, as it was deployed", &parse_artifact,
       nullptr},
      {"command", "runs a program when its guards or inputs say so", &parse_command, nullptr},
      {"daemon", "keeps a program running with its configuration", &parse_daemon, &revert_daemon},
      {"directory", "a directory, its metadata and, from a tree, its content", &parse_directory,
       &revert_path},
      {"file", "a regular file with content, mode and owner", &parse_file, &revert_path},
      {"group", "a group of users", &parse_group, &revert_group},
      {"symlink", "a symbolic link", &parse_symlink, &revert_path},
      {"user", "a user account", &parse_user, &revert_user},
  };
  return types;
}

const ResourceType* find_resource_type(std::string_view name) {
  const auto& types = resource_types();
  const auto it = std::find_if(types.begin(), types.end(),
                               [&](const ResourceType& type) { return type.name == name; });
  return it == types.end() ? nullptr : &*it;
}

Result<std::unique_ptr<Resource>> parse_resource(const std::string& name, const Json& spec,
                                                 const fs::path& root) {
  const std::string path = fmt::format("resources.{}", name);
  if (!spec.is_object())
    return fail(ErrorCode::invalid_input,
                fmt::format("{} must be an object, not {}", path, spec.type_name()));
  JsonReader reader(spec, path);
  const std::string type_name = reader.string("type");
  const ResourceType* type = find_resource_type(type_name);
  if (type == nullptr) {
    TRYV(reader.finish(UnknownMembers::ignore));
    std::vector<std::string_view> names;
    for (const ResourceType& known : resource_types()) {
      // Nobody writes it: it comes of the service's artifacts.
      if (known.parse != &parse_artifact) names.push_back(known.name);
    }
    const std::string meant = closest(type_name, names);
    return fail(ErrorCode::invalid_input,
                fmt::format("{}.type: there is no resource type '{}'", path, type_name))
        .hint(meant.empty() ? "known types: command, daemon, directory, file, group, symlink, user"
                            : fmt::format("did you mean '{}'?", meant));
  }
  CommonFields common = read_common(reader);
  auto resource = type->parse(reader, root);
  TRYV(reader.finish());
  if (!resource) return resource;
  (*resource)->name_ = name;
  (*resource)->type_ = type->name;
  // Whatever its author says: what it holds is shown to nobody.
  if ((*resource)->holds_secrets()) common.sensitive = true;
  if (!common.says_nothing())
    (*resource)->common_ = std::make_unique<const CommonFields>(std::move(common));
  (*resource)->wish_ = wish_of(spec);
  return resource;
}

const CommonFields& Resource::common() const {
  static const CommonFields none;
  return common_ ? *common_ : none;
}

const std::string& Resource::place() const {
  static const std::string none;
  return none;
}

std::optional<mode_t> read_mode(JsonReader& reader, std::string_view key) {
  const auto text = reader.optional_string(key);
  if (!text) return std::nullopt;
  mode_t out = 0;
  const bool octal = !text->empty() && text->size() <= 5 &&
                     text->find_first_not_of("01234567") == std::string::npos;
  for (const char c : octal ? *text : std::string()) out = out * 8 + static_cast<mode_t>(c - '0');
  if (!octal || out > 07777) {
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: '{}' is no octal mode", reader.path_of(key), *text))
                    .hint("write for example \"0644\""));
  }
  return out;
}

std::string read_path(JsonReader& reader, std::string_view key, const fs::path& root) {
  const std::string text = reader.string(key);
  auto path = normal_path(text.empty() ? "/" : text, root);
  if (path && !text.empty() && *path == "/")
    path = fail(ErrorCode::refused, "the root directory itself is no resource");
  if (path) return *path;
  reader.note(std::move(path.error()).context(fmt::format("reading {}", reader.path_of(key))));
  return "/";
}

std::map<std::string, std::string> read_environment(JsonReader& reader) {
  std::map<std::string, std::string> out;
  const auto wrong = [&](std::string_view what) {
    reader.note(
        fail(ErrorCode::invalid_input, fmt::format("{}: {}", reader.path_of("environment"), what)));
  };
  for (const auto& [key, value] : reader.object("environment")) {
    if (!is_variable_name(key))
      wrong("names of variables have letters, digits and '_', and do not begin with a digit");
    else if (!value.is_string())
      wrong(fmt::format("{}: values of the environment are strings", key));
    else if (value.as_string().find('\0') != std::string::npos)
      wrong(fmt::format("{}: no variable can hold a NUL byte", key));
    else
      out[key] = value.as_string();
  }
  return out;
}

std::string read_optional_path(JsonReader& reader, std::string_view key, const fs::path& root) {
  const auto text = reader.optional_string(key);
  if (!text) return "";
  auto path = normal_path(*text, root);
  if (path) return *path;
  reader.note(std::move(path.error()).context(fmt::format("reading {}", reader.path_of(key))));
  return "";
}

std::optional<Duration> read_duration(JsonReader& reader, std::string_view key) {
  const auto text = reader.optional_string(key);
  if (!text) return std::nullopt;
  auto duration = parse_duration(*text);
  if (duration) return *duration;
  reader.note(std::move(duration.error()).context(fmt::format("reading {}", reader.path_of(key))));
  return std::nullopt;
}

std::size_t read_choice(JsonReader& reader, std::string_view key,
                        std::initializer_list<std::string_view> choices) {
  const auto text = reader.optional_string(key);
  if (!text) return 0;
  const auto it = std::find(choices.begin(), choices.end(), *text);
  if (it != choices.end()) return static_cast<std::size_t>(it - choices.begin());
  reader.note(
      fail(ErrorCode::invalid_input, fmt::format("{}: '{}' is not one of {}", reader.path_of(key),
                                                 *text, fmt::join(choices, ", ")))
          .hint("choose one of these words"));
  return 0;
}

std::string mode_text(mode_t mode) { return fmt::format("{:04o}", mode); }

void Verdict::add(std::string what, std::string before, std::string after, std::string diff) {
  state = State::wrong;
  changes.push_back(Change{std::move(what), std::move(before), std::move(after), std::move(diff)});
}

bool Verdict::changes_what(std::string_view what) const {
  return std::any_of(changes.begin(), changes.end(),
                     [&](const Change& change) { return change.what == what; });
}

Result<std::optional<Digest>> Context::back_up(const std::string& path) const {
  if (backups == nullptr || dry_run()) return std::optional<Digest>();
  const Entry entry = TRY(files.look(path));
  if (entry.kind != EntryKind::file) return std::optional<Digest>();
  if (secrets != nullptr && secrets->is_tainted(path)) return std::optional<Digest>();
  // By descriptor: who may write in its folder could put a link to any file in its place.
  const Fd fd = TRY(files.open_for_reading(path));
  return std::optional(TRY(backups->put_open(fd, path)));
}

Status Context::keep_removed(const std::vector<std::string>& paths) const {
  if (dry_run()) return {};
  if (originals != nullptr) return originals->keep(*this, paths, Originals::Change::purge);
  for (const std::string& path : paths) TRY(back_up(path));
  return {};
}

Status Context::remember(const std::vector<std::string>& changed,
                         const std::vector<std::string>& changed_in_metadata) const {
  if (dry_run() || originals == nullptr) return {};
  TRYV(originals->keep(*this, changed_in_metadata, Originals::Change::metadata));
  return originals->keep(*this, changed, Originals::Change::any);
}

Ownership Ownership::read(JsonReader& reader) {
  Ownership out;
  out.mode = read_mode(reader, "mode");
  out.owner = reader.string("owner", "");
  out.group = reader.string("group", "");
  return out;
}

Result<Metadata> Ownership::resolve(const Accounts& accounts) const {
  Metadata out;
  out.mode = mode;
  if (!owner.empty()) out.uid = TRY(accounts.uid_of(owner));
  if (!group.empty()) out.gid = TRY(accounts.gid_of(group));
  return out;
}

void Ownership::add_uses(std::vector<std::string>& uses) const {
  if (!owner.empty()) uses.push_back("user:" + owner);
  if (!group.empty()) uses.push_back("group:" + group);
}

void compare_metadata(const Metadata& wanted, const Entry& entry, Verdict& verdict) {
  if (wanted.mode && *wanted.mode != entry.mode())
    verdict.add("mode", mode_text(entry.mode()), mode_text(*wanted.mode));
  if (wanted.uid && *wanted.uid != entry.stamp.uid)
    verdict.add("owner", std::to_string(entry.stamp.uid), std::to_string(*wanted.uid));
  if (wanted.gid && *wanted.gid != entry.stamp.gid)
    verdict.add("group", std::to_string(entry.stamp.gid), std::to_string(*wanted.gid));
}

Json bytes_to_json(std::string_view bytes) {
  return is_utf8(bytes) ? Json(bytes) : Json::object({{"bytes", crypto::to_base64url(bytes)}});
}

std::string bytes_from_json(const Json* json) {
  if (json == nullptr) return "";
  if (json->is_string()) return json->as_string();
  return crypto::from_base64url(json->string_or("bytes")).value_or("");
}

Metadata captured_metadata(const Json& before) {
  Metadata out;
  out.mode =
      static_cast<mode_t>(std::strtoul(before.string_or("mode", "0600").c_str(), nullptr, 8));
  out.uid = static_cast<uid_t>(before.int_or("uid"));
  out.gid = static_cast<gid_t>(before.int_or("gid"));
  out.attributes.emplace();
  if (const Json* attributes = before.find("attributes");
      attributes != nullptr && attributes->is_object()) {
    for (const auto& [name, value] : attributes->as_object())
      out.attributes->emplace(name, bytes_from_json(&value));
  }
  return out;
}

Result<Json> capture_path(const Context& context, const std::string& path) {
  const Entry entry = TRY(context.files.look(path));
  Json out = Json::object({{"kind", entry_kind_name(entry.kind)}});
  if (entry.kind == EntryKind::absent) return out;
  out["mode"] = mode_text(entry.mode());
  out["uid"] = entry.stamp.uid;
  out["gid"] = entry.stamp.gid;
  if (entry.kind == EntryKind::symlink) out["target"] = bytes_to_json(entry.target);
  for (const auto& [name, value] : TRY(context.files.attributes(path)))
    out["attributes"][name] = bytes_to_json(value);
  if (const auto backup = TRY(context.back_up(path))) out["backup"] = backup->str();
  return out;
}

Status revert_path(const Context& context, const Json& record) {
  const std::string path = bytes_from_json(record.find("path"));
  const Json* before = record.find("before");
  if (path.empty() || before == nullptr || !before->is_object()) return {};
  const std::string kind = before->string_or("kind");
  const Entry now = TRY(context.files.look(path));
  if (kind == "absent") {
    // A directory that others have filled meanwhile is theirs as well: it stays.
    if (now.kind == EntryKind::directory && !TRY(context.files.list(path)).empty()) {
      return fail(ErrorCode::conflict,
                  fmt::format("{} is not empty, so it was left where it is", path))
          .hint("remove it by hand when nothing in it is needed");
    }
    return context.files.remove(path);
  }
  const Metadata meta = captured_metadata(*before);
  if (kind == "symlink")
    return context.files.make_symlink(path, bytes_from_json(before->find("target")));
  if (kind == "directory")
    return now.kind == EntryKind::directory ? context.files.set_metadata(path, meta)
                                            : context.files.make_directory(path, meta);
  const auto backup = Digest::parse(before->string_or("backup"));
  if (!backup || context.backups == nullptr) {
    return fail(ErrorCode::not_found, fmt::format("there is no backup of what {} was before", path))
        .hint("restore it by hand");
  }
  // Through a file of our own: it may be large.
  TRYV(make_folders(context.state_folder, 0700));
  const TempFolder between = TRY(TempFolder::create("revert-", context.state_folder));
  Content content;
  content.source = between.path() / "content";
  TRYV(context.backups->materialise(*backup, content.source, 0600, Durability::cached));
  TRY(context.files.write(path, content, meta, nullptr));
  return {};
}

}  // namespace consort::agent
