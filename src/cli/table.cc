// The table of commands, in the order in which --help shows them.
#include "cli/rows.h"

namespace consort::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      init_command(),
      check_command(),
      plan_command(),
      deploy_command(),
      rollback_command(),
      status_command(),
      history_command(),
      diff_command(),
      explain_command(),
      requisites_command(),
      graph_command(),
      logs_command(),
      rollout_list_command(),
      rollout_show_command(),
      rollout_pause_command(),
      rollout_resume_command(),
      rollout_abort_command(),
      host_list_command(),
      host_show_command(),
      host_remove_command(),
      host_install_command(),
      host_approve_command(),
      host_revoke_command(),
      token_create_command(),
      token_list_command(),
      token_revoke_command(),
      secret_set_command(),
      secret_list_command(),
      secret_rotate_command(),
      secret_reseal_command(),
      secret_remove_command(),
      operator_create_command(),
      operator_token_command(),
      operator_grant_command(),
      operator_list_command(),
      operator_revoke_command(),
      login_command(),
      context_list_command(),
      context_use_command(),
      context_show_command(),
      context_renew_command(),
      context_remove_command(),
      key_create_command(),
      key_list_command(),
      key_show_command(),
      key_trust_command(),
      key_sign_command(),
      audit_command(),
      apply_command(),
      agent_command(),
      controller_init_command(),
      controller_admin_command(),
      controller_command(),
      lab_up_command(),
      lab_status_command(),
      lab_exec_command(),
      lab_run_command(),
      lab_start_command(),
      lab_stop_command(),
      lab_kill_command(),
      lab_cut_command(),
      lab_heal_command(),
      lab_reboot_command(),
      lab_down_command(),
      demo_command(),
      demo_client_command(),
      lab_keep_command(),
      completions_command(),
      docs_command(),
      complete_command(),
      version_command(),
  };
  return table;
}

const std::vector<Option>& global_options() {
  static const std::vector<Option> options = {
      {"--json", "", "One JSON record on stdout at the end; events as JSON lines on stderr."},
      {"--controller", "URL", "The controller; default $CONSORT_CONTROLLER, or the context's."},
      {"--context", "NAME",
       "Whose credentials to use; default $CONSORT_CONTEXT, or the current one."},
      {"--no-color", "", "No colours, as with NO_COLOR=1."},
  };
  return options;
}

}  // namespace consort::cli
