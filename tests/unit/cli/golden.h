// Golden files: what people see, kept beside the tests. CONSORT_ACCEPT=1 writes them anew; look at
// the difference before it is committed.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace consort::cli {

inline void expect_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(GOLDEN_FOLDER) + "/" + name + ".txt";
  if (const char* accept = std::getenv("CONSORT_ACCEPT"); accept != nullptr && *accept == '1') {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream file(path);
  std::stringstream kept;
  kept << file.rdbuf();
  EXPECT_EQ(kept.str(), text) << path << "; if the new text is meant: CONSORT_ACCEPT=1";
}

}  // namespace consort::cli
