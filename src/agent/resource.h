// One typed piece of desired state on a host: observe → diff (examine), apply, watch. The table of
// types is in resource.cc; each type lives in resources/<type>.cc. examine() never changes
// anything; apply() does what examine() found. Both run against a Context whose files may be an
// overlay (dry run).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/accounts.h"
#include "agent/claims.h"
#include "agent/host_files.h"
#include "base/json.h"
#include "base/json_reader.h"
#include "base/process.h"
#include "base/selector.h"
#include "base/time.h"

namespace consort::objects {
class ObjectStore;
}

namespace consort::agent {

class OverlayFiles;
class Originals;
class SecretSource;
class Supervisor;

// The most restrictive of host, service and resource wins: the greatest.
enum class Enforcement : std::uint8_t { enforce, warn, audit };
enum class OnRemoval : std::uint8_t { keep, revert };
// Whether a daemon that comes after this resource restarts when its desired content changes.
enum class OnChange : std::uint8_t { restart, ignore };

struct CommonFields {
  std::string purpose;
  std::unique_ptr<Selector> when;  // null: always
  std::vector<std::string> after;
  Enforcement enforcement = Enforcement::enforce;
  std::optional<Duration> timeout;
  bool sensitive = false;
  OnRemoval on_removal = OnRemoval::keep;
  OnChange on_change = OnChange::restart;
  // All is left at its default.
  [[nodiscard]] bool says_nothing() const {
    return purpose.empty() && when == nullptr && after.empty() &&
           enforcement == Enforcement::enforce && !timeout && !sensitive &&
           on_removal == OnRemoval::keep && on_change == OnChange::restart;
  }
};

// What a resource works with. All references outlive the pass; everything is thread-safe.
struct Context {
  HostFiles& files;
  Accounts& accounts;
  ProcessRunner& runner;
  fs::path root;
  fs::path state_folder;             // the agent's own; commands keep their stamps here
  Supervisor* supervisor = nullptr;  // null: daemons fail and say so
  const objects::ObjectStore* backups = nullptr;  // null: what is replaced is not kept
  OverlayFiles* overlay = nullptr;                // set in a dry run; `files` is then this overlay
  // Paths that resources decide on, of this set and of the whole host: a purge leaves them alone.
  const PathSet* claimed = nullptr;
  const Claims* claims = nullptr;
  Originals* originals = nullptr;   // null: there is no way back that would ask for them
  SecretSource* secrets = nullptr;  // null: files with secrets fail and say so
  const objects::ObjectStore* artifacts = nullptr;  // what was deployed; null: there is nothing
  const PathSet* owned =
      nullptr;  // of `claimed`, those of this set that are decided on with all below

  [[nodiscard]] bool dry_run() const { return overlay != nullptr; }
  // Keeps the content of a file that is about to go. No store, no file, or one that has held a
  // secret: no digest.
  [[nodiscard]] Result<std::optional<Digest>> back_up(const std::string& path) const;
  // The same for all that a purge is about to remove, so that a way back can bring it back.
  [[nodiscard]] Status keep_removed(const std::vector<std::string>& paths) const;
  // For a way back, where there is one: what `files` would remember one by one, at once.
  [[nodiscard]] Status remember(const std::vector<std::string>& changed,
                                const std::vector<std::string>& changed_in_metadata) const;
};

struct Change {
  std::string what;  // "content", "mode", "owner", …
  std::string before;
  std::string after;
  std::string diff;  // for texts; may be empty
};

struct Verdict {
  enum class State : std::uint8_t {
    right,
    wrong,    // `changes` say what apply() would do
    waiting,  // for something that is not there yet; no failure, dependents are skipped
  };
  State state = State::right;
  std::vector<Change> changes;
  std::string reason;
  // If right: as long as these stamps hold, it stays right. Empty: only examine() can tell.
  std::vector<Evidence> evidence;

  void add(std::string what, std::string before, std::string after, std::string diff = "");
  [[nodiscard]] bool changes_what(std::string_view what) const;
};

struct Applied {
  bool changed = true;                // a command may find that there was nothing to do
  std::vector<std::string> notes;     // what had to be done in another way
  std::vector<std::string> commands;  // that were run, or would be
  std::optional<Digest> backup;
};

class Resource {
 public:
  Resource() = default;
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;
  virtual ~Resource() = default;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string_view type() const { return type_; }
  [[nodiscard]] const CommonFields& common() const;
  // The digest of what is wished for, without the common fields.
  [[nodiscard]] const Digest& wish() const { return wish_; }

  [[nodiscard]] virtual Result<Verdict> examine(const Context& context) const = 0;
  [[nodiscard]] virtual Result<Applied> apply(const Context& context,
                                              const Verdict& verdict) const = 0;
  // Paths whose change may mean drift.
  [[nodiscard]] virtual std::vector<std::string> watch(const Context& /*context*/) const {
    return {};
  }

  // The path that it is about, where there is one and it keeps it; else "".
  [[nodiscard]] virtual const std::string& place() const;
  // Keys are paths ("/etc/x"), "user:NAME", "group:NAME", "daemon:NAME".
  // What it alone decides on: two resources with one claim and different wishes contradict each
  // other.
  [[nodiscard]] virtual std::vector<std::string> claims() const { return {}; }
  // What it makes besides, and what it needs: these order resources.
  [[nodiscard]] virtual std::vector<std::string> provides() const { return {}; }
  [[nodiscard]] virtual std::vector<std::string> uses() const { return {}; }
  [[nodiscard]] virtual bool wants_absence() const { return false; }
  // Whether it decides on what is below its path, too.
  [[nodiscard]] virtual bool decides_below() const { return false; }
  // Whether what it claims is the same whatever was there before: not where it keeps a content.
  [[nodiscard]] virtual bool decides_on_all() const { return true; }
  // The state of what it claims, for `onRemoval: revert`; null when there is nothing to go back to.
  [[nodiscard]] virtual Result<Json> capture(const Context& /*context*/) const { return Json(); }
  // What a daemon after it runs with: a digest of desired content, or nullopt when it is no
  // configuration.
  [[nodiscard]] virtual Result<std::optional<Digest>> configuration() const {
    return std::optional<Digest>();
  }
  // For daemons: the digest over its configuration, set before each pass.
  virtual void set_configuration(const Digest& /*digest*/) {}
  [[nodiscard]] virtual bool is_daemon() const { return false; }
  // Its content is partly a secret: it is treated as sensitive.
  [[nodiscard]] virtual bool holds_secrets() const { return false; }

 private:
  friend Result<std::unique_ptr<Resource>> parse_resource(const std::string& name, const Json& spec,
                                                          const fs::path& root);
  std::string name_;
  std::string_view type_;
  std::unique_ptr<const CommonFields> common_;  // null: it says nothing of them, like most
  Digest wish_;
};

struct ResourceType {
  std::string_view name;
  std::string_view purpose;  // one line for the reference
  Result<std::unique_ptr<Resource>> (*parse)(JsonReader& reader, const fs::path& root);
  // Undoes what the ledger says that a resource of this type did; null: nothing to undo.
  // `record`: { path|name, before }.
  Status (*revert)(const Context& context, const Json& record);
};

[[nodiscard]] const std::vector<ResourceType>& resource_types();
[[nodiscard]] const ResourceType* find_resource_type(std::string_view name);

// Validates all of `spec`. Errors: invalid_input with the path "resources.NAME.field" and a likely
// fix.
[[nodiscard]] Result<std::unique_ptr<Resource>> parse_resource(const std::string& name,
                                                               const Json& spec,
                                                               const fs::path& root);

// For the types' parsers.
[[nodiscard]] std::optional<mode_t> read_mode(JsonReader& reader, std::string_view key);
[[nodiscard]] std::string read_path(JsonReader& reader, std::string_view key,
                                    const fs::path& root);  // required
[[nodiscard]] std::string read_optional_path(JsonReader& reader, std::string_view key,
                                             const fs::path& root);
// The member "environment": names of variables, and texts without NUL.
[[nodiscard]] std::map<std::string, std::string> read_environment(JsonReader& reader);
[[nodiscard]] std::optional<Duration> read_duration(JsonReader& reader, std::string_view key);
// The member if it is one of `choices` (the first is the default); notes an error otherwise.
[[nodiscard]] std::size_t read_choice(JsonReader& reader, std::string_view key,
                                      std::initializer_list<std::string_view> choices);
[[nodiscard]] std::string mode_text(mode_t mode);  // "0644"

// Mode, owner and group as several types wish for them.
struct Ownership {
  std::optional<mode_t> mode;
  std::string owner;
  std::string group;
  [[nodiscard]] static Ownership read(JsonReader& reader);
  [[nodiscard]] Result<Metadata> resolve(const Accounts& accounts) const;
  void add_uses(std::vector<std::string>& uses) const;
};
// Adds "mode", "owner", "group" changes for what differs from `entry`.
void compare_metadata(const Metadata& wanted, const Entry& entry, Verdict& verdict);

// Bytes of the disk in JSON, which is text: as they are, or { bytes } in base64url of what is no
// UTF-8. Read: "" of anything else, or of null.
[[nodiscard]] Json bytes_to_json(std::string_view bytes);
[[nodiscard]] std::string bytes_from_json(const Json* json);

// The state of one path as a record, and back to it: shared by the types that own a path.
[[nodiscard]] Result<Json> capture_path(const Context& context, const std::string& path);
[[nodiscard]] Metadata captured_metadata(const Json& before);
// Error conflict: others use it as well, it stays.
[[nodiscard]] Status revert_path(const Context& context, const Json& record);

}  // namespace consort::agent
