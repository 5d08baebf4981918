// The folders of one service on this host, and the values of the host's placeholders.
//
//   DATA/services/<service>/data/                lasts over versions   ${service.data}
//                           run/                 sockets, pid files    ${service.run}
//                           versions/<12 hex>/   of one manifest       ${service.dir};
//                           artifacts/NAME are links artifacts/<12 hex>   unpacked, shared by
//                           versions  ${artifact.NAME} hooks/<12 hex>       hook programs scratch/
//                           snapshot/  while a hook runs log, log.1           what hooks print
// One service is used by one thread at a time.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/accounts.h"
#include "base/selector.h"
#include "plan/manifest.h"

namespace consort::agent {

// Who this host is.
struct HostIdentity {
  std::string name;
  std::string address;
  LabelMap labels;
  LabelMap facts;
  fs::path root = "/";
  fs::path data;  // canonical
};

struct Version {
  Digest digest;
  plan::Manifest manifest;
  std::map<std::string, std::string> host{};  // the inventory's values, see plan::InstanceState
};
// The host as this version sees it: the inventory's word before the agent's own.
[[nodiscard]] LabelMap labels_for(const HostIdentity& host, const Version& version);
[[nodiscard]] std::string address_for(const HostIdentity& host, const Version& version);

class ServiceFiles {
 public:
  ServiceFiles(const HostIdentity& host, const std::string& service);

  [[nodiscard]] const fs::path& folder() const { return folder_; }
  [[nodiscard]] fs::path data() const { return folder_ / "data"; }
  [[nodiscard]] fs::path run() const { return folder_ / "run"; }
  [[nodiscard]] fs::path version(const Digest& manifest) const {
    return folder_ / "versions" / manifest.brief();
  }
  [[nodiscard]] fs::path artifact(const Digest& digest) const {
    return folder_ / "artifacts" / digest.brief();
  }

  // Makes what is missing of the version's folders and unpacks its artifacts. Errors: io, corrupt,
  // not_found.
  [[nodiscard]] Status unpack(const objects::ObjectStore& store, const Version& version) const;
  // Puts an artifact that is unpacked already back as it was deployed, but for places that others
  // decide on; whether anything differed. Errors: as unpack().
  [[nodiscard]] Result<bool> mend(const objects::ObjectStore& store, const plan::Artifact& artifact,
                                  const std::function<bool(const std::string&)>& is_free) const;
  // Gives the data and run folders to the daemon's user; does nothing when the agent is not root.
  [[nodiscard]] Status hand_over(const Version& version) const;
  // What is needed on the disk to unpack it, in bytes.
  [[nodiscard]] Result<std::uint64_t> unpacked_size(const objects::ObjectStore& store,
                                                    const plan::Manifest& manifest) const;
  // Removes the folders of all other versions; data, run and log stay.
  [[nodiscard]] Status keep_only(const std::vector<Version>& versions) const;

  // Errors: not_found (no such label or fact), invalid_input.
  [[nodiscard]] Result<Json> fill(const Json& json, const Version& version,
                                  const std::string& path) const;
  // The same for a resource, in which secrets stay references: the values are the resource's to
  // open.
  [[nodiscard]] Result<Json> fill_resource(const Json& spec, const Version& version,
                                           const std::string& path) const;
  // What hooks read on standard input.
  [[nodiscard]] Json describe(const Version& version) const;

 private:
  [[nodiscard]] Result<std::string> value_of(std::string_view name, const Version& version) const;
  const HostIdentity& host_;
  fs::path folder_;
};

// Resources of all services are together on a host: there they are called SERVICE.NAME.
[[nodiscard]] std::string name_on_host(const std::string& service, const std::string& resource);
// A resource whose `after` says so, too.
[[nodiscard]] Json with_names_on_host(const std::string& service, Json spec);

// The names of services become names of folders: NAME or class:NAME.
[[nodiscard]] bool is_service_name(std::string_view text);

}  // namespace consort::agent
