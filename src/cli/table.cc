// The table of commands, in the order in which --help shows them.
#include "cli/rows.h"

namespace consort::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      init_command(),           check_command(),         plan_command(),
      deploy_command(),         rollback_command(),      status_command(),
      history_command(),        diff_command(),          explain_command(),
      requisites_command(),     graph_command(),         logs_command(),
      rollout_list_command(),   rollout_show_command(),  rollout_pause_command(),
      rollout_resume_command(), rollout_abort_command(), host_list_command(),
      host_show_command(),      host_remove_command(),   apply_command(),
      agent_command(),          controller_command(),    lab_up_command(),
      lab_status_command(),     lab_exec_command(),      lab_run_command(),
      lab_start_command(),      lab_stop_command(),      lab_kill_command(),
      lab_cut_command(),        lab_heal_command(),      lab_reboot_command(),
      lab_down_command(),       demo_command(),          demo_client_command(),
      lab_keep_command(),       completions_command(),   docs_command(),
      complete_command(),       version_command(),
  };
  return table;
}

const std::vector<Option>& global_options() {
  static const std::vector<Option> options = {
      {"--json", "", "One JSON record on stdout at the end; events as JSON lines on stderr."},
      {"--controller", "URL", "The controller; default $CONSORT_CONTROLLER."},
      {"--no-color", "", "No colours, as with NO_COLOR=1."},
  };
  return options;
}

}  // namespace consort::cli
