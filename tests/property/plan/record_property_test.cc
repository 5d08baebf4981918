// Manifests, generations and policies are read back as they were written, byte by byte: their
// digests are names.
#include "fixtures/sites.h"

namespace consort::plan {
namespace {

using tests::draw_between;
using tests::draw_chance;

std::string draw_text() { return *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127)); }

Digest draw_digest() { return Digest::of(draw_text()); }

Hook draw_hook() {
  Hook out;
  if (draw_chance(50)) out.program = draw_digest();
  out.argv.push_back(draw_text());
  out.timeout = Duration{draw_between<std::int64_t>(0, 10'000'000)};
  out.idempotent = draw_chance(50);
  out.scope = draw_chance(50) ? Hook::Scope::service : Hook::Scope::instance;
  out.while_running = draw_chance(50);
  out.may_fail = draw_chance(50);
  return out;
}

Manifest draw_manifest() {
  Manifest out;
  out.service = draw_text();
  out.host_class = draw_text();
  out.version = draw_text();
  out.data_version = draw_between<std::int64_t>(0, 1000);
  if (draw_chance(50))
    out.artifacts[draw_text()] = {draw_chance(50) ? Artifact::Kind::file : Artifact::Kind::tree,
                                  draw_digest()};
  if (draw_chance(50)) out.resources[draw_text()] = Json::object({{"content", draw_text()}});
  if (draw_chance(50)) out.daemon = Json::object({{"argv", Json::Array{draw_text()}}});
  if (draw_chance(50)) out.hooks[draw_text()] = draw_hook();
  if (draw_chance(50)) out.needs[draw_text()] = Json::object({{"port", draw_between(1, 65535)}});
  if (draw_chance(50)) out.provides[draw_text()] = Json::object({{"port", draw_between(1, 65535)}});
  return out;
}

RC_GTEST_PROP(RecordProperty, AManifestIsReadBackToTheSameBytes, ()) {
  const Manifest manifest = draw_manifest();
  const auto bytes = manifest_bytes(manifest);
  RC_ASSERT(bytes.has_value());
  const auto json = parse_json(*bytes);
  RC_ASSERT(json.has_value());
  const auto again = manifest_from_json(*json);
  RC_ASSERT(again.has_value());
  RC_ASSERT(manifest_bytes(*again).value() == *bytes);
}

// What a manifest is made of decides its name: another content is another digest.
RC_GTEST_PROP(RecordProperty, ManifestsThatDifferHaveOtherChanges, ()) {
  const Manifest one = draw_manifest();
  const Manifest other = draw_manifest();
  const bool same = *manifest_bytes(one) == *manifest_bytes(other);
  RC_ASSERT(manifest_changes(one, other).empty() == same);
  RC_ASSERT(manifest_changes(one, one).empty());
}

RC_GTEST_PROP(RecordProperty, AGenerationIsReadBackAsItWas, ()) {
  const tests::SiteSpec site = *tests::any_site();
  Generation generation = tests::build(site, tests::first_release(site)).generation;
  generation.number = draw_between<std::uint64_t>(0, 1'000'000);
  generation.by = draw_text();
  generation.message = draw_text();
  generation.created = from_millis(draw_between<std::int64_t>(0, 4'000'000'000'000));
  generation.sources = draw_digest();
  generation.broken["s9"] = draw_text();
  const Json json = generation_to_json(generation);
  const auto again = generation_from_json(*parse_json(json.dump()));
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->services == generation.services);
  RC_ASSERT(again->hosts == generation.hosts);
  RC_ASSERT(again->classes == generation.classes);
  RC_ASSERT(again->policy == generation.policy);
  RC_ASSERT(generation_to_json(*again) == json);
}

RC_GTEST_PROP(RecordProperty, ATargetIsReadBackAsItWas, ()) {
  Target target;
  target.epoch = draw_between<std::uint64_t>(0, 1'000'000);
  target.seq = draw_between<std::uint64_t>(0, 1'000'000);
  const int count = draw_between(0, 3);
  for (int i = 0; i < count; ++i) {
    TargetEntry entry;
    if (draw_chance(70))
      entry.wanted = InstanceState{draw_digest(), static_cast<Mode>(draw_between(0, 2))};
    entry.attempt = draw_text();
    if (draw_chance(30))
      entry.duty = Duty{draw_text(), "migrate", "up", draw_digest(), draw_digest(), draw_digest()};
    target.instances["s" + std::to_string(i)] = entry;
  }
  const auto again = target_from_json(*parse_json(target_to_json(target).dump()));
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == target);
}

}  // namespace
}  // namespace consort::plan
