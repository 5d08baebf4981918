// The smallest fleet in which one needs another.
#pragma once

#include "fixtures/models.h"

namespace consort::plan {

inline tests::Model two_hosts() {
  tests::Model model;
  model.host("h1", "a").host("h2", "b");
  return model;
}

}  // namespace consort::plan
