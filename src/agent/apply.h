// `consort apply FILE`: converges one document { resources: { name: { type, … } } } once, without
// any controller. Host placeholders (${host.name}, ${host.address}, ${host.labels.*}, ${fact.*})
// are filled in here. With a root other than "/", paths of resources and account files are below
// it; sources, trees and commands are of the machine that runs this (CONSORT_ROOT tells a command
// the root).
#pragma once

#include "agent/converge.h"
#include "agent/report.h"

namespace consort::agent {

struct ApplyOptions {
  fs::path root = "/";
  fs::path state_folder;  // empty: ROOT/var/lib/consort/apply
  Rehearsal rehearsal = Rehearsal::no;
  Audit audit = Audit::full;
  LabelMap labels;
  std::string host_name;  // empty: the hostname
  std::string host_address = "127.0.0.1";
  Supervisor* supervisor =
      nullptr;  // null: systemd where it is init and the root is "/", else native
  std::vector<std::string> shim_argv = {"/proc/self/exe", "daemon-shim"};
  unsigned workers = 2;
};

struct ApplyReport {
  PassReport pass;
  // No longer named, and undone, or to be undone after a dry run: onRemoval said so.
  std::vector<std::string> reverted;
  bool troubled = false;               // something could not be undone
  std::vector<std::string> leftovers;  // owned from earlier documents, no longer named; left alone
  // As `consort apply` exits: 0 kept, 2 repaired, 4 some failed, 6 both. (A bad document is an
  // Error: 1.)
  [[nodiscard]] int exit_status() const {
    return pass.exit_status() | (reverted.empty() ? 0 : 2) | (troubled ? 4 : 0);
  }
};

[[nodiscard]] Json apply_report_to_json(const ApplyReport& report);

// Errors: invalid_input and conflict for the document; locked when another apply runs; io.
[[nodiscard]] Result<ApplyReport> apply_document(const Json& document, const ApplyOptions& options);

}  // namespace consort::agent
