// What `consort lab-keep` is in the product; under any other name it is a host that does nothing.
#include <unistd.h>

#include <string_view>

#include "platform/keeper.h"

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "lab-keep")
    return consort::platform::keep_main(argv[2]).value_or(1);
  // With a child, as an agent has daemons.
  if (::fork() == 0) ::execlp("sleep", "sleep", "1000", nullptr);
  while (true) ::pause();
}
