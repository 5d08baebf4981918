// The converger: holds a set of resources and makes the host be so, pass after pass. A pass in
// which nothing changed costs one stat per path. Not thread-safe itself (one caller at a time); it
// uses a few threads inside where several resources have work to do.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/ledger.h"
#include "agent/originals.h"
#include "agent/report.h"
#include "agent/resource.h"

namespace consort::objects {
class ObjectStore;
}

namespace consort::agent {

struct ConvergerState;  // converger_state.h

struct ConvergerOptions {
  fs::path root = "/";
  fs::path own_folder;                            // of the agent: never below another root
  fs::path state_folder;                          // ledger and stamps of commands
  LabelMap labels;                                // facts and labels, for `when`
  const objects::ObjectStore* backups = nullptr;  // must outlive the converger, like the next three
  Supervisor* supervisor = nullptr;
  ProcessRunner* runner = nullptr;  // null: the system's
  const Clock* clock = nullptr;     // null: the system's
  SecretSource* secrets = nullptr;  // null: files with secrets fail; must outlive the converger
  const objects::ObjectStore* artifacts = nullptr;  // what services unpack; must outlive it, too
  Claims* claims = nullptr;  // of the host, where this set is known by `name`
  std::string name;
  Enforcement enforcement = Enforcement::enforce;
  unsigned workers = 2;
};

enum class Audit : std::uint8_t { changed_only, full };
enum class Rehearsal : std::uint8_t { no, dry_run };

struct PassOptions {
  Audit audit = Audit::changed_only;
  Rehearsal rehearsal = Rehearsal::no;
  bool list_kept = false;
  // Only these (and what depends on them, if they are repaired); empty: all.
  std::set<std::string> only;
  // Somebody has asked for what is done here: it waits for nothing, and is nobody's undoing.
  bool ordered = false;
};

struct ReleaseReport {
  std::vector<std::string> reverted;
  std::vector<std::string> kept;
  std::vector<std::string> warnings;  // what could not be undone, and why
};

class Converger {
 public:
  // Errors: io, not_found (the root), unsupported (an old kernel).
  [[nodiscard]] static Result<std::unique_ptr<Converger>> create(ConvergerOptions options);
  ~Converger();
  Converger(const Converger&) = delete;
  Converger& operator=(const Converger&) = delete;

  // Replaces the set: name → expanded specification. All or nothing. What is no longer in the set
  // is left alone until release(). Errors: invalid_input, conflict (contradictions name both
  // resources).
  [[nodiscard]] Status set_resources(const std::map<std::string, Json>& specs);
  // What `when` is matched against from the next pass on.
  void set_labels(LabelMap labels);
  // What is changed from now on is remembered there; null: nothing is. It must outlive the use.
  void remember_in(Originals* originals);
  // Mode and owner of a path that something else than a resource is about to change.
  [[nodiscard]] Status remember_metadata(const std::string& path);
  // See Originals::begin() and Originals::bring_back(), from which on nothing is remembered.
  [[nodiscard]] Status begin_to_remember(Originals& originals, const std::string& step);
  [[nodiscard]] Result<std::vector<Originals::Lost>> bring_back(
      Originals& originals, const std::set<std::string>& only = {});
  // The ledger is again what it was when they began. Errors: io.
  [[nodiscard]] Status bring_back_ledger(const Originals& originals);
  // Whether a resource of the set makes it so: a path, "daemon:NAME".
  [[nodiscard]] bool decides_on(const std::string& claim) const;

  [[nodiscard]] PassReport pass(const PassOptions& options = {});

  // Gives up what the ledger says is owned under these names: undone where onRemoval is revert.
  // What cannot be undone now (a full disk, say; accounts while things are remembered) stays in the
  // ledger and among the leftovers. What
  // another resource of the set has taken over is not undone, and its original is that one's now.
  // Errors: io (the ledger).
  [[nodiscard]] Result<ReleaseReport> release(const std::set<std::string>& names);
  // Of the set, what the ledger knows at another place: it has to be released there.
  [[nodiscard]] std::set<std::string> moved() const;
  // What the ledger owns that is no longer in the set.
  [[nodiscard]] std::vector<std::string> leftovers() const;
  // … and what of it says so.
  [[nodiscard]] std::vector<std::string> leftovers(OnRemoval on_removal) const;

  // Host paths to watch, per resource (see watch.h).
  [[nodiscard]] std::map<std::string, std::vector<std::string>> watches() const;
  [[nodiscard]] std::size_t size() const;
  // How often the disk was changed since create().
  [[nodiscard]] std::uint64_t changes_made() const;

 private:
  explicit Converger(std::unique_ptr<ConvergerState> state);
  std::unique_ptr<ConvergerState> state_;
};

}  // namespace consort::agent
