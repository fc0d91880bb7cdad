package units

import (
	"testing"

	"forensics/analyzers/commands/commandstest"
)

type answer = commandstest.Answer

// TestForms: systemctl shows the same in its tables and in JSON, and
// systemd-analyze wherever it is asked.
func TestForms(t *testing.T) {
	t.Run("list-units", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemctl list-units", "  UNIT          LOAD      ACTIVE     SUB          DESCRIPTION\n  dev-vda.device loaded   active     plugged      Disk\n● demo.service  loaded    failed     failed       Demo set-up\n  gone.service  not-found inactive   dead         gone.service\n  slow.service  loaded    activating start        Slow\n\nLOAD   = Reflects whether the unit definition was properly loaded.\n4 loaded units listed.\n"},
			{"systemctl list-units --output=json", `[{"unit":"dev-vda.device","load":"loaded","active":"active","sub":"plugged","description":"Disk"},{"unit":"demo.service","load":"loaded","active":"failed","sub":"failed","description":"Demo set-up"},{"unit":"gone.service","load":"not-found","active":"inactive","sub":"dead","description":"gone.service"},{"unit":"slow.service","load":"loaded","active":"activating","sub":"start","description":"Slow"}]` + "\n"},
			{"systemctl --output=json-pretty list-units", "[\n\t{\n\t\t\"unit\" : \"dev-vda.device\",\n\t\t\"load\" : \"loaded\",\n\t\t\"active\" : \"active\"\n\t},\n\t{\n\t\t\"unit\" : \"demo.service\",\n\t\t\"load\" : \"loaded\",\n\t\t\"active\" : \"failed\"\n\t},\n\t{\n\t\t\"unit\" : \"slow.service\",\n\t\t\"load\" : \"loaded\",\n\t\t\"active\" : \"activating\"\n\t}\n]\n"},
		}, []string{"unit.active dev-vda.device = active", "unit.active demo.service = failed", "unit.active slow.service = activating"})
	})
	t.Run("list-jobs", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemctl list-jobs", "JOB UNIT          TYPE  STATE\n  7 demo.service  start waiting\n112 early.service start running\n\n2 jobs listed.\n"},
			{"systemctl list-jobs --output=json", `[{"job":7,"unit":"demo.service","type":"start","state":"waiting"},{"job":112,"unit":"early.service","type":"start","state":"running"}]` + "\n"},
		}, []string{"unit.job demo.service = waiting", "unit.job early.service = running"})
	})
	t.Run("show", func(t *testing.T) {
		// A target has no Type=: with the next unit's it would come first.
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemctl show multi-user.target demo", "Id=multi-user.target\nActiveState=active\n\nType=oneshot\nResult=exit-code\nId=demo.service\nActiveState=failed\n"},
		}, []string{"unit.active multi-user.target = active", "unit.type demo.service = oneshot", "unit.result demo.service = exit-code", "unit.active demo.service = failed"})
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemctl show -p ActiveState,Result a demo", "Result=success\nActiveState=active\n\nResult=exit-code\nActiveState=failed\n"},
		}, []string{"unit.active a.service = active", "unit.result a.service = success", "unit.active demo.service = failed", "unit.result demo.service = exit-code"})
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemctl show -p Type a.target demo other", "Type=oneshot\n\nType=simple\n"}, {"systemctl show -p ActiveState 'a*' demo", "ActiveState=active\n\nActiveState=failed\n"},
		}, nil)
	})
	t.Run("systemd-analyze", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemd-analyze", "Startup finished in 2.503s (kernel) + 9.127s (initrd) + 1min 4.021s (userspace) = 1min 15.651s \ngraphical.target reached after 1min 3.992s in userspace.\n"},
			{"systemd-analyze time", "Startup finished in 1min 15.651s (userspace) \n"},
		}, []string{"boot.startup = 75.651"})
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemd-analyze blame", "1min 2.345s demo.service\n      835ms early.service\n"},
			{"systemd-analyze critical-chain demo.service", "The time when unit became active or started is printed after the \"@\" character.\nThe time the unit took to start is printed after the \"+\" character.\n\ndemo.service +1min 2.345s\n└─basic.target @2.503s\n  └─early.service @1.668s +835ms\n"},
		}, []string{"unit.start-time demo.service = 62.345", "unit.start-time early.service = 0.835"})
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemd-analyze", "Bootup is not yet finished (org.freedesktop.systemd1.Manager.FinishTimestampMonotonic=0).\nPlease try again later.\nHint: Use 'systemctl list-jobs' to see active jobs\n"},
		}, []string{"boot.starting = yes"})
	})
	t.Run("nothing", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"systemctl list-units --output=json", `[{"unit":"demo.service","load":"loaded","active":"failed"` + "\n"},
			{"systemctl list-units --output=json", `[{"unit":"demo.service","active":"failed"},{"unit":"a b.service","load":"loaded","active":"failed"},{"unit":7},null,[{"unit":"demo.service"}]]` + "\n"},
			{"systemctl list-jobs --output=json", `[{"job":7,"unit":"demo.service","type":"start","state":"done"}]` + "\n"},
			{"echo x", `[{"unit":"demo.service","load":"loaded","active":"failed"}]` + "\n"},
			{"systemd-analyze", "Startup finished in no time\n"}, {"systemd-analyze blame", "835ms nothing\n"}, {"cat blame.txt", "835ms early.service\n"},
		}, nil)
	})
}
