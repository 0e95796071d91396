/* Tables of fields that the documents of runs and of comparisons share (report_json.c). */
#ifndef PARE_PIPELINE_REPORT_FIELDS_H
#define PARE_PIPELINE_REPORT_FIELDS_H

#include "pipeline/fields.h"

extern const Field report_interval_fields[]; /* Interval */
extern const Field report_sourced_fields[];  /* Sourced */
extern const Field report_state_fields[];    /* ReportState */
extern const Field report_grid_fields[];     /* GridFactor */
extern const Field report_embodied_fields[]; /* Embodied */
extern const Field report_goal_fields[];    /* GoalResult */
extern const Field report_sci_fields[];      /* Sci */
extern const Field report_machine_fields[];  /* MachineInfo */
extern const Field report_source_fields[];   /* EnergySource (comparison_json.c) */
extern const Field report_protocol_fields[]; /* Comparison (comparison_json.c) */

#endif
