#include "agent/supervisors/shim.h"

int main(int argc, char** argv) { return consort::agent::daemon_shim_main(argc, argv); }
