#include "plan/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/json_reader.h"
#include "base/text.h"
#include "objects/tree.h"

namespace consort::plan {
namespace {

Json hook_to_json(const Hook& hook) {
  Json out = Json::object({{"program", hook.program.is_none() ? Json() : Json(hook.program.str())},
                           {"argv", Json::array_of(hook.argv)},
                           {"timeout", format_duration(hook.timeout)},
                           {"idempotent", hook.idempotent},
                           {"scope", hook.scope == Hook::Scope::service ? "service" : "instance"},
                           {"whileRunning", hook.while_running}});
  // Without it a manifest is the same object as before there was this word.
  if (hook.may_fail) out["mayFail"] = true;
  return out;
}

Result<Hook> hook_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Hook hook;
  if (const auto program = reader.optional_string("program"))
    hook.program = TRY(Digest::parse(*program));
  hook.argv = reader.strings("argv");
  hook.timeout = TRY(parse_duration(reader.string("timeout", "300s")));
  hook.idempotent = reader.boolean("idempotent", true);
  hook.scope = reader.string("scope", "instance") == "service" ? Hook::Scope::service
                                                               : Hook::Scope::instance;
  hook.while_running = reader.boolean("whileRunning", false);
  hook.may_fail = reader.boolean("mayFail", false);
  if (hook.program.is_none() && hook.argv.empty())
    reader.note(fail(ErrorCode::invalid_input, path + ": neither program nor argv"));
  TRYV(reader.finish(UnknownMembers::ignore));
  return hook;
}

}  // namespace

const Hook* Manifest::hook(std::string_view name) const {
  const auto it = hooks.find(std::string(name));
  return it == hooks.end() ? nullptr : &it->second;
}

Json manifest_to_json(const Manifest& manifest) {
  Json::Object artifacts;
  for (const auto& [name, artifact] : manifest.artifacts) {
    artifacts.emplace(
        name, Json::object({{"kind", artifact.kind == Artifact::Kind::tree ? "tree" : "file"},
                            {"digest", artifact.digest.str()}}));
  }
  Json::Object resources;
  for (const auto& [name, spec] : manifest.resources) resources.emplace(name, spec);
  Json::Object hooks;
  for (const auto& [name, hook] : manifest.hooks) hooks.emplace(name, hook_to_json(hook));
  Json out = Json::object({{"consort", "manifest"},
                           {"service", manifest.service},
                           {"hostClass", manifest.host_class},
                           {"version", manifest.version},
                           {"dataVersion", manifest.data_version},
                           {"artifacts", artifacts},
                           {"resources", resources},
                           {"daemon", manifest.daemon ? *manifest.daemon : Json()},
                           {"hooks", hooks},
                           {"needs", manifest.needs},
                           {"provides", manifest.provides}});
  // Without secrets a manifest is the same object as before there were any: nothing is planned.
  if (manifest.secrets.empty()) return out;
  Json& secrets = out["secrets"] = Json::object();
  for (const auto& [name, version] : manifest.secrets) secrets[name] = version;
  return out;
}

Result<Manifest> manifest_from_json(const Json& json) {
  JsonReader reader(json, "");
  if (reader.string("consort") != "manifest")
    return fail(ErrorCode::invalid_input, "this object is not a manifest");
  Manifest out;
  out.service = reader.string("service");
  out.host_class = reader.string("hostClass");
  out.version = reader.string("version", "");
  out.data_version = reader.integer("dataVersion", 0, 0);
  for (const auto& [name, item] : reader.object("artifacts")) {
    JsonReader artifact(item, "artifacts." + name);
    out.artifacts[name] = {
        artifact.string("kind") == "file" ? Artifact::Kind::file : Artifact::Kind::tree,
        TRY(Digest::parse(artifact.string("digest")))};
    TRYV(artifact.finish(UnknownMembers::ignore));
  }
  for (const auto& [name, item] : reader.object("resources")) out.resources.emplace(name, item);
  if (const Json* daemon = reader.any("daemon")) out.daemon = *daemon;
  for (const auto& [name, item] : reader.object("hooks"))
    out.hooks[name] = TRY(hook_from_json(item, "hooks." + name));
  out.needs = reader.object("needs");
  out.provides = reader.object("provides");
  for (const auto& [name, version] : reader.object("secrets")) {
    if (!is_name(name) || !version.is_int() || version.as_int() < 0)
      return fail(ErrorCode::invalid_input, "secrets: expected names with their versions");
    out.secrets.emplace(name, static_cast<std::uint64_t>(version.as_int()));
  }
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

Status check_hooks(const Manifest& manifest) {
  const Hook* backup = manifest.hook("backup");
  if (backup == nullptr || !backup->while_running || manifest.data_version == 0 ||
      manifest.hook("drain") != nullptr)
    return {};
  return fail(ErrorCode::invalid_input,
              "backup: 'running' needs a drain hook: what is written between the snapshot and the "
              "stop would be lost on the way back")
      .hint(
          "write a drain hook that keeps all writes out until undrain; or leave backup: 'running' "
          "away, and the snapshot is taken when the service has stopped");
}

Result<std::string> manifest_bytes(const Manifest& manifest) {
  auto bytes = manifest_to_json(manifest).canonical();
  if (!bytes)
    return fail(std::move(bytes).error().context(
        fmt::format("in the manifest of service {}", manifest.service)));
  return bytes;
}

Result<Digest> put_manifest(const objects::ObjectStore& store, const Manifest& manifest) {
  return store.put(TRY(manifest_bytes(manifest)));
}

Result<Manifest> get_manifest(const objects::ObjectStore& store, const Digest& digest) {
  const std::string bytes = TRY(store.get(digest));
  const auto json = parse_json(bytes, digest.str());
  // Without the place: it shows the line, and whose object this is nobody knows.
  if (!json) return fail(json.error().code(), json.error().message());
  return manifest_from_json(*json);
}

std::vector<Digest> manifest_references(const Manifest& manifest) {
  std::set<Digest> out;
  for (const auto& [name, artifact] : manifest.artifacts) out.insert(artifact.digest);
  for (const auto& [name, hook] : manifest.hooks) {
    if (!hook.program.is_none()) out.insert(hook.program);
  }
  return {out.begin(), out.end()};
}

Result<std::vector<Digest>> manifest_closure(const objects::ObjectStore& store,
                                             const Digest& digest) {
  const Manifest manifest = TRY(get_manifest(store, digest));
  std::set<Digest> out = {digest};
  for (const Digest& reference : manifest_references(manifest)) out.insert(reference);
  for (const auto& [name, artifact] : manifest.artifacts) {
    if (artifact.kind != Artifact::Kind::tree) continue;
    for (const Digest& blob :
         objects::tree_references(TRY(objects::get_tree(store, artifact.digest))))
      out.insert(blob);
  }
  return std::vector<Digest>(out.begin(), out.end());
}

Result<std::vector<Digest>> object_references(const objects::ObjectStore& store,
                                              const Digest& digest) {
  // Only what begins as Consort's own canonical JSON can be a tree or a manifest: plain blobs refer
  // to nothing.
  const std::string head = TRY(store.slice(digest, 0, 16));
  if (!head.starts_with("{\"")) return std::vector<Digest>{};
  const auto bytes = store.get(digest);
  if (!bytes) return std::vector<Digest>{};
  const auto json = parse_json(*bytes);
  if (!json) return std::vector<Digest>{};
  if (json->string_or("consort") == "tree") {
    const auto tree = objects::tree_from_json(*json, digest.str());
    if (tree) return objects::tree_references(*tree);
  } else if (json->string_or("consort") == "manifest") {
    const auto manifest = manifest_from_json(*json);
    if (manifest) return manifest_references(*manifest);
  }
  return std::vector<Digest>{};
}

}  // namespace consort::plan
