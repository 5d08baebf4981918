#include "agent/boot_rules.h"

#include "agent/access_rules.h"

namespace consort::agent {
namespace {

constexpr std::size_t kRulesBytes = 256U << 20U;

}  // namespace

BootRules::BootRules(fs::path file, Supervisor& supervisor,
                     std::function<void(const std::string&)> tell)
    : file_(std::move(file)), supervisor_(supervisor), tell_(std::move(tell)) {}

void BootRules::keep(const plan::Admissions& admissions,
                     const std::map<std::string, bool>& services, const fs::path& nft) {
  take_note(admissions.empty() ? remove() : put(admissions, services, nft));
}

void BootRules::forget() { take_note(remove()); }

// The file first: a unit that finds none lets no daemon start before the agent does.
Status BootRules::put(const plan::Admissions& admissions,
                      const std::map<std::string, bool>& services, const fs::path& nft) {
  const BootGuard guard{file_, nft, services};
  const std::string text = access_rules(admissions);
  if (read_file(file_, kRulesBytes).value_or("") != text)
    TRYV(write_file_atomic(file_, text, 0600));
  return supervisor_.guard_boot(guard);
}

Status BootRules::remove() {
  TRYV(supervisor_.guard_boot(std::nullopt));
  return remove_tree(file_);
}

void BootRules::take_note(const Status& status) {
  std::string trouble = status ? "" : status.error().message();
  if (trouble == trouble_) return;
  trouble_ = std::move(trouble);
  tell_(trouble_);
}

}  // namespace consort::agent
