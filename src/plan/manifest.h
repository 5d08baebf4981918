// A manifest: one service compiled for one host class. An object (canonical JSON) shared by every
// host of the class; its digest is the identity of "this version of the service". Purposes and
// everything else that does not change what runs are left out, so that they change no digest.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"
#include "objects/store.h"

namespace consort::plan {

struct Artifact {
  enum class Kind : std::uint8_t { tree, file };
  Kind kind = Kind::tree;
  Digest digest;
};

// Names: setup start stop validate drain undrain backup restore migrate contract.
struct Hook {
  enum class Scope : std::uint8_t { instance, service };
  Digest program;                 // the script's blob; none when argv names a program
  std::vector<std::string> argv;  // arguments after the script, or the whole command line
  Duration timeout = minutes(5);
  bool idempotent = true;
  Scope scope = Scope::instance;
  bool while_running = false;  // backup: 'running'
  bool may_fail = false;       // of drain: onFailure: 'continue'
};

struct Manifest {
  std::string service;
  std::string host_class;
  std::string version;            // a label for people, may be empty
  std::int64_t data_version = 0;  // 0: the service keeps no data
  std::map<std::string, Artifact> artifacts;
  std::map<std::string, Json> resources;  // name → spec; class placeholders filled in
  std::optional<Json> daemon;
  std::map<std::string, Hook> hooks;
  Json::Object needs;     // name → { service, endpoint, addresses, port, hosts }: needs and uses
  Json::Object provides;  // name → { port, … }
  // ${secret.NAME} → its version: a new value is a reconfiguration. 0: not known when it was
  // compiled, so that it cannot be deployed.
  std::map<std::string, std::uint64_t> secrets{};

  [[nodiscard]] const Hook* hook(std::string_view name) const;
  // Is there something to start and stop?
  [[nodiscard]] bool runs() const { return daemon.has_value() || hooks.contains("start"); }
};

[[nodiscard]] Json manifest_to_json(const Manifest& manifest);
// Errors: invalid_input with the path inside the manifest.
[[nodiscard]] Result<Manifest> manifest_from_json(const Json& json);
// Whether its hooks fit together: a snapshot of data that is taken while the service runs needs a
// drain hook that keeps writes out. Error: invalid_input.
[[nodiscard]] Status check_hooks(const Manifest& manifest);
[[nodiscard]] Result<std::string> manifest_bytes(const Manifest& manifest);
[[nodiscard]] Result<Digest> put_manifest(const objects::ObjectStore& store,
                                          const Manifest& manifest);
[[nodiscard]] Result<Manifest> get_manifest(const objects::ObjectStore& store,
                                            const Digest& digest);

// The objects that a manifest names directly (artifacts, hook programs), sorted, unique.
[[nodiscard]] std::vector<Digest> manifest_references(const Manifest& manifest);
// All objects that the manifest needs at run time on its host: itself, artifacts, their files,
// hooks.
[[nodiscard]] Result<std::vector<Digest>> manifest_closure(const objects::ObjectStore& store,
                                                           const Digest& manifest);
// References of any object that Consort made (manifest or tree): what the collector asks for.
[[nodiscard]] Result<std::vector<Digest>> object_references(const objects::ObjectStore& store,
                                                            const Digest& digest);

}  // namespace consort::plan
