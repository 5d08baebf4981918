// What nobody refers to any more leaves the controller's object store, and its memory.
#include "base/log.h"
#include "controller/shell.h"
#include "plan/manifest.h"

namespace consort::controller {
namespace {

constexpr Duration kInterval = std::chrono::hours(1);
constexpr std::int64_t kGrace = std::int64_t{24} * 3600;  // seconds

}  // namespace

Result<objects::CollectReport> collect_objects(const objects::ObjectStore& store,
                                               const std::set<Digest>& manifests,
                                               const std::set<Digest>& values,
                                               std::int64_t grace_seconds) {
  std::set<Digest> roots = manifests;
  roots.insert(values.begin(), values.end());
  const auto references = [&](const Digest& digest) -> Result<std::vector<Digest>> {
    // A value of the journal names its manifests in words of its own; they are roots themselves.
    if (values.contains(digest)) return std::vector<Digest>{};
    return plan::object_references(store, digest);
  };
  return store.collect(roots, references, grace_seconds, objects::ObjectStore::Mode::remove);
}

void Shell::schedule_collection() {
  collection_.cancel();
  collection_ = loop_.after(kInterval, [this] {
    schedule_collection();
    if (ready()) collect();
  });
}

void Shell::collect() {
  // Whatever was planned once has been read, and most of it was never deployed.
  const std::set<Digest> in_use = core_->manifests_in_use();
  std::erase_if(manifests_, [&](const auto& known) { return !in_use.contains(known.first); });
  workers_.post(
      [store = objects_, manifests = core_->manifests_kept(), values = journal_.objects_in_use()] {
        const auto report = collect_objects(store, manifests, values, kGrace);
        if (!report)
          return log_warn("objects could not be collected: {}", report.error().message());
        if (report->removed > 0)
          log_info("{} objects that nobody refers to are removed, {} MB", report->removed,
                   report->bytes_freed / 1'000'000);
      });
}

}  // namespace consort::controller
