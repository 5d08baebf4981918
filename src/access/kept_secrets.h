// Whether the values that a plan goes back to can still be had.
#pragma once

#include <map>
#include <vector>

#include "access/registry.h"
#include "plan/manifest.h"
#include "plan/plan.h"

namespace consort::access {

// Versions of secrets that steps of the plan bring to hosts and that are no longer kept, or that
// their host cannot open: each step would fail while it fetches. No word of an operator is enough.
// `manifests`: those of the steps; one that is not there is not looked at. `before`: service → the
// manifest that ran before the present one; a host keeps the values of both, so that going there
// asks for none.
[[nodiscard]] std::vector<plan::Need> secrets_out_of_reach(
    const Registry& registry, const plan::Plan& plan,
    const std::map<Digest, plan::Manifest>& manifests, const std::map<std::string, Digest>& before);

}  // namespace consort::access
